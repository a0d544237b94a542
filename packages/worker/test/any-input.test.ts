/** Every phase answers every input; and what a rank sends, a coordinator can read. */
import assert from "node:assert/strict";
import { encodeControl, parseWorkerMessage } from "@ringmaster/protocol";
import fc from "fast-check";
import t from "tap";
import type { WorkerInput } from "../src/worker-core.ts";
import { joining, preparing, readyToBegin, stepping } from "./fixtures/core.ts";
import {
  begin,
  config,
  evaluationOf,
  hash,
  progressAt,
  ready,
  receipt,
  startOf,
  stepHeld,
  stop,
} from "./fixtures/messages.ts";

const loss = fc.oneof({ weight: 8, arbitrary: fc.constant(32) }, fc.double());
const coordinator = fc
  .oneof(
    fc.nat(1).map((rank) => startOf(rank)),
    fc.nat(9).map((step) => startOf(0, { source: { kind: "state", step, totalBytes: 4, progress: progressAt(step) } })),
    fc.constantFrom(0, 0, 0, 1, 5).map(begin),
    fc.constant(stop),
    fc.constant({ type: "CoordinatorSaved" as const, step: 1 }),
    fc.constant({ type: "CoordinatorHeartbeat" as const, sentAtMs: 1 }),
    fc.constant({ type: "CoordinatorFinish" as const, reason: "over" }),
    fc.constant({ type: "CoordinatorAbort" as const, code: "WORKER_LOST", message: "gone" }),
  )
  .map((message) => ({ type: "coordinator" as const, message }));
const input: fc.Arbitrary<WorkerInput> = fc.oneof(
  { weight: 3, arbitrary: coordinator },
  fc.record({
    type: fc.constant("prepared" as const),
    stepsPerEpoch: fc.integer({ min: 1, max: 4 }),
    ready: fc.constant(ready),
  }),
  {
    weight: 6,
    arbitrary: fc
      .record({ loss, plan: fc.constantFrom(0, 2, config.seats), samples: fc.constantFrom(64, 64, 64, 64, 63) })
      .map((tail) => stepHeld({ ...tail, receipt })),
  },
  {
    weight: 3,
    arbitrary: fc
      .record({ split: fc.constantFrom("validation" as const, "test" as const), loss, correct: fc.nat(100) })
      .map(({ split, loss, correct }) => ({
        type: "evaluationHeld" as const,
        evaluation: evaluationOf(split, correct, loss),
      })),
  },
  { weight: 6, arbitrary: fc.constant({ type: "updated" as const }) },
  { weight: 6, arbitrary: fc.constant({ type: "hashed" as const, hash: hash("e") }) },
  fc.record({ type: fc.constant("failed" as const), code: fc.string(), message: fc.string() }),
  fc.record({ type: fc.constant("coordinatorLost" as const), message: fc.string() }),
  fc.record({ type: fc.constant("terminate" as const), reason: fc.string() }),
);
const lastStep = () => stepping({ config: { maxSteps: 1 } });
const from = fc.constantFrom(joining, preparing, readyToBegin, stepping, lastStep);

t.test(
  "no sequence of inputs makes a rank throw, speak after its end, or send what a coordinator cannot read",
  async (t) => {
    const reached = new Set<string>();
    fc.assert(
      fc.property(from, fc.array(input, { maxLength: 30 }), (from, inputs) => {
        const driven = from();
        let ended = false;
        for (const given of inputs) {
          const effects = driven.input(given);
          if (ended) assert.deepEqual(effects, []);
          for (const effect of effects) {
            assert.ok(!ended, "the end is the last effect");
            if (effect.type === "send") parseWorkerMessage(encodeControl(effect.message));
            ended = effect.type === "end";
          }
          reached.add(driven.core.phase);
          assert.equal(driven.core.phase === "ended", ended);
        }
      }),
      { numRuns: 2000 },
    );
    t.same(
      [...reached].sort(),
      ["ended", "finishing", "joining", "preparing", "ready", "stepping"],
      "every phase was reached",
    );
  },
);

for (const answer of ["stepHeld", "updated", "hashed", "evaluationHeld", "prepared"] as const)
  t.test(`an answer to nothing, ${answer}, ends a rank that joins`, async (t) => {
    const inputs: Record<typeof answer, WorkerInput> = {
      stepHeld: stepHeld(),
      updated: { type: "updated" },
      hashed: { type: "hashed", hash: hash("e") },
      evaluationHeld: { type: "evaluationHeld", evaluation: evaluationOf("test", 1) },
      prepared: { type: "prepared", stepsPerEpoch: 1, ready },
    };
    t.match(joining().input(inputs[answer]).at(-1), { type: "end", exitCode: 1, code: "UNEXPECTED_INPUT" });
  });

/** Ranks whose tails are the same, and whose words from the coordinator come at any time, must not part ways. */
t.test("ranks that are told to stop at different steps stop after the same one", async (t) => {
  const ranks = fc.array(fc.nat(6), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(ranks, (toldBefore) => {
      const seatsOf = (rank: number) => (rank === 0 ? config.seats - toldBefore.length + 1 : 1);
      const world = toldBefore.map((_, rank) => stepping({ rank, stepsPerEpoch: 100 }));
      const hasPlan = world.map(() => false);
      for (let step = 0; step < 12; step++) {
        // The step under way was given the plan, or not, when it began: hence first the tail, then the coordinator's word.
        const plan = hasPlan.reduce((sum, has, rank) => sum + (has ? seatsOf(rank) : 0), 0);
        const done = world.map((rank, index) => {
          if (toldBefore[index] === step) rank.input({ type: "coordinator", message: stop });
          const words = rank.step({ plan });
          hasPlan[index] = (toldBefore[index] ?? 0) <= step;
          return words.at(-1) === "WorkerDone";
        });
        const expected = step === Math.max(...toldBefore) + 1;
        assert.deepEqual(
          done,
          world.map(() => expected),
          `step ${step}`,
        );
        if (expected) return;
      }
      assert.fail("nobody stopped");
    }),
  );
  t.pass();
});
