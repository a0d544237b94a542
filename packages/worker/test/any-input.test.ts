/** Every phase answers every input; and what a rank sends, a coordinator can read. */
import assert from "node:assert/strict";
import { encodeControl, parsePeerState, parseWorkerMessage, seedStateId } from "@ringmaster/protocol";
import fc from "fast-check";
import t from "tap";
import type { Standing } from "../src/standing.ts";
import type { WorkerEffect, WorkerInput } from "../src/worker-io.ts";
import {
  connected,
  type DrivenCore,
  done,
  inWords,
  newcomer,
  preparing,
  regrouping,
  spare,
  stepping,
} from "./fixtures/core.ts";
import {
  config,
  evaluationOf,
  fetchFrom,
  hash,
  heard,
  idAfter,
  idOf,
  kept,
  loadCheckpoint,
  loadSeed,
  ownId,
  plan,
  proceed,
  progressAt,
  ready,
  receipt,
  regroup,
  saved,
  startOf,
  stepHeld,
  stop,
  welcome,
} from "./fixtures/messages.ts";

const loss = fc.oneof({ weight: 8, arbitrary: fc.constant(32) }, fc.double());
const generation = fc.integer({ min: 1, max: 4 });
const step = fc.nat(3);
const stateId = fc.oneof(
  step.map((steps) => idAfter(steps)),
  fc.constant("00000000000000aa"),
);
const members = fc.constantFrom([0], [0, 1], [1, 0], [1]);
const rarely = <Value>(arbitrary: fc.Arbitrary<Value>) => ({ weight: 1, arbitrary });
const often = <Value>(arbitrary: fc.Arbitrary<Value>) => ({ weight: 12, arbitrary });

const input: fc.Arbitrary<WorkerInput> = fc.oneof(
  often(fc.tuple(generation, members).map(([g, workers]) => regroup(g, ...workers))),
  often(generation.map((g): WorkerInput => ({ type: "quiet", generation: g }))),
  often(generation.map(loadSeed)),
  often(fc.tuple(generation, step, stateId).map(([g, s, id]) => fetchFrom(g, s, id))),
  often(fc.tuple(generation, step, stateId).map(([g, s, id]) => loadCheckpoint(g, progressAt(s), id))),
  often(fc.tuple(generation, step, stateId, members).map(([g, s, id, workers]) => proceed(g, s, id, ...workers))),
  often(generation.map((g) => proceed(g, 0, seedStateId, 0, 1))),
  often(
    fc
      .record({ loss, plan: fc.constantFrom(0, 2, config.seats), overflowed: fc.constantFrom(0, 0, 0, 1), generation })
      .map(({ generation: g, ...tail }) => stepHeld({ ...tail, receipt }, g)),
  ),
  rarely(generation.map((g) => stepHeld({ samples: 63 }, g))),
  often(
    fc
      .record({
        split: fc.constantFrom("validation" as const, "test" as const),
        loss,
        correct: fc.nat(100),
        generation,
      })
      .map(({ split, loss, correct, generation: g }) => ({
        type: "evaluationHeld" as const,
        generation: g,
        evaluation: evaluationOf(split, correct, loss),
      })),
  ),
  often(fc.constant({ type: "updated" as const })),
  often(generation.map((g) => ({ type: "hashed" as const, generation: g, hash: hash("e") }))),
  often(generation.map((g) => ({ type: "ringOpen" as const, generation: g }))),
  often(
    fc
      .tuple(generation, step, stateId)
      .map(([g, s, id]) => ({ type: "loaded" as const, generation: g, step: s, stateId: id })),
  ),
  often(
    fc.tuple(generation, step, stateId).map(([g, s, id]) => ({
      type: "copied" as const,
      generation: g,
      step: s,
      stateId: id,
      progress: progressAt(s),
      effect: null,
      history: [],
    })),
  ),
  fc.record({
    type: fc.constant("copyFailed" as const),
    generation,
    peer: fc.constantFrom(0, 7, null),
    message: fc.string(),
  }),
  fc.record({
    type: fc.constant("linkLost" as const),
    generation,
    peer: fc.constantFrom(0, 7, null),
    message: fc.string(),
  }),
  fc.constantFrom(ownId, idOf(5)).map((workerId) => ({ type: "connected" as const, workerId })),
  fc.record({ type: fc.constant("disconnected" as const), message: fc.string() }),
  fc.nat(3).map(welcome),
  fc.constant(startOf()),
  fc.record({
    type: fc.constant("prepared" as const),
    stepsPerEpoch: fc.integer({ min: 1, max: 4 }),
    ready: fc.constant(ready),
  }),
  fc.constantFrom(stop, plan(2, "checkpoint"), saved(1), kept(1), heard({ type: "CoordinatorHeartbeat", sentAtMs: 1 })),
  rarely(fc.record({ type: fc.constant("terminate" as const), reason: fc.string() })),
  rarely(fc.record({ type: fc.constant("orphaned" as const), reason: fc.string() })),
  rarely(fc.record({ type: fc.constant("patienceOver" as const), message: fc.string() })),
  rarely(
    fc.record({
      type: fc.constant("failed" as const),
      concerns: fc.constantFrom("run" as const, "worker" as const),
      code: fc.string(),
      message: fc.string(),
    }),
  ),
  rarely(fc.constant(heard({ type: "CoordinatorFinish", reason: "over" }))),
  rarely(fc.constant(heard({ type: "CoordinatorAbort", code: "DRIFTED", message: "gone" }))),
);
const lastStep = () => stepping({ config: { maxSteps: 1 } });
const from = fc.constantFrom(newcomer, connected, preparing, spare, regrouping, stepping, lastStep, done);

/** What a shell checks of an effect before it carries it out, and cannot go on without. */
function checkReadable(effect: WorkerEffect): void {
  if (effect.type === "send") parseWorkerMessage(encodeControl(effect.message));
  if (effect.type === "offer") {
    const { type, history, ...state } = effect;
    parsePeerState(encodeControl({ type: "PeerState", ...state }));
    for (const message of history) parseWorkerMessage(encodeControl(message));
  }
}

t.test(
  "no sequence of inputs makes a rank throw, speak after its end, or send what a coordinator cannot read",
  async (t) => {
    const reached = new Set<string>();
    fc.assert(
      fc.property(from, fc.array(input, { maxLength: 40 }), (from, inputs) => {
        const driven = from();
        let ended = false;
        for (const given of inputs) {
          for (const effect of driven.input(given)) {
            assert.ok(!ended, "the end is the last effect, and the only one");
            checkReadable(effect);
            ended = effect.type === "end";
          }
          reached.add(driven.core.phase);
          assert.equal(driven.core.phase === "ended", ended);
        }
      }),
      { numRuns: 3000 },
    );
    t.same([...reached].sort(), ["done", "ended", "regrouping", "spare", "stepping", "unprepared"]);
  },
);

/** Words of the coordinator come at any time, in any order, and twice: none of them may end a rank as if it had made a mistake itself. */
t.test(
  "whatever the coordinator says and whenever the shell answers, a rank that is answered in order meets nothing unexpected",
  async (t) => {
    const noise = fc.oneof(
      fc.tuple(generation, members).map(([g, workers]) => regroup(g, ...workers)),
      generation.map(loadSeed),
      fc.tuple(generation, step, stateId).map(([g, s, id]) => fetchFrom(g, s, id)),
      fc.tuple(generation, members).map(([g, workers]) => proceed(g, 0, seedStateId, ...workers)),
      fc.constantFrom(stop, saved(1), kept(1)),
      fc.constant({ type: "connected" as const, workerId: ownId }),
      fc.constant({ type: "disconnected" as const, message: "gone" }),
    );
    /** What a coordinator may say to a rank that stands like this. */
    const word = fc.constantFrom("open", "open without it", "fetch", "seed", "proceed", "proceed without it");
    const say = (said: string, { generation, step, stateId }: Standing): WorkerInput => {
      if (said === "open") return regroup(generation + 1, 0, 1);
      if (said === "open without it") return regroup(generation + 1, 1);
      if (said === "fetch") return fetchFrom(generation, step + 1, "00000000000000aa");
      if (said === "seed") return loadSeed(generation);
      return proceed(generation, Math.max(0, step), stateId, ...(said === "proceed" ? [0, 1] : [1]));
    };
    const act = fc.oneof(
      { weight: 6, arbitrary: fc.constant("answer") },
      { weight: 3, arbitrary: fc.constantFrom("open", "seed", "proceed") },
      { weight: 1, arbitrary: word },
      { weight: 1, arbitrary: noise },
    );
    const reached = new Set<string>();
    fc.assert(
      fc.property(fc.array(act, { maxLength: 80, size: "max" }), (acts) => {
        const driven = spare({ stepsPerEpoch: 2 });
        const shell = slowShell(driven);
        for (const each of acts) {
          const { standing } = driven.core;
          const given = typeof each === "string" ? (each === "answer" ? undefined : say(each, standing)) : each;
          for (const effect of given ? driven.input(given) : shell.answer()) {
            assert.notEqual(effect.type, "end", inWords([effect])[0]);
            shell.asked(effect);
            reached.add(effect.type);
          }
          reached.add(driven.core.phase);
        }
      }),
      { numRuns: 2000 },
    );
    const expected = [
      "stepping",
      "done",
      "drop",
      "copy",
      "load",
      "offer",
      "step",
      "update",
      "evaluate",
      "hash",
      "snapshot",
    ];
    t.same(
      expected.filter((each) => !reached.has(each)),
      [],
      "all of it was reached",
    );
  },
);

/** Answers what it is asked, one after another, as late as it is told to; a `stop` gives up what is under way, but for the optimizer. */
function slowShell({ input, core }: DrivenCore) {
  const answers: { readonly input: WorkerInput; readonly isCut: boolean }[] = [];
  const add = (input: WorkerInput, isCut = true) => answers.push({ input, isCut });
  const cut = (which: (input: WorkerInput) => boolean) => {
    for (const answer of answers.splice(0)) if (!answer.isCut || !which(answer.input)) answers.push(answer);
  };
  const isGetting = ({ type }: WorkerInput) => type === "copied" || type === "loaded";
  return {
    asked(effect: WorkerEffect) {
      const { generation } = core.standing;
      switch (effect.type) {
        case "stop":
          cut(() => true);
          return add({ type: "quiet", generation: effect.generation });
        case "drop":
          cut(() => true);
          return;
        case "copy": {
          cut(isGetting);
          const { step, stateId } = effect;
          return add({
            type: "copied",
            generation,
            step,
            stateId,
            progress: progressAt(step),
            effect: null,
            history: [],
          });
        }
        case "load": {
          cut(isGetting);
          const { step, stateId } = effect;
          return add({ type: "loaded", generation, step, stateId });
        }
        case "openRing":
          return add({ type: "ringOpen", generation });
        case "step":
          if (effect.update) add({ type: "updated" }, false);
          return add(stepHeld({ plan: effect.plan ? config.seats : 0 }, generation));
        case "update":
          return add({ type: "updated" }, false);
        case "evaluate":
          return add({ type: "evaluationHeld", generation, evaluation: evaluationOf(effect.split, 50) });
        case "hash":
          return add({ type: "hashed", generation, hash: hash("e") });
        default:
          return;
      }
    },
    answer: () => {
      const next = answers.shift();
      return next ? input(next.input) : [];
    },
  };
}

for (const answer of ["stepHeld", "updated", "hashed", "evaluationHeld", "prepared", "ringOpen", "quiet"] as const)
  t.test(`an answer to nothing, ${answer}, ends a worker that has just connected`, async (t) => {
    const inputs: Record<typeof answer, WorkerInput> = {
      stepHeld: stepHeld(),
      updated: { type: "updated" },
      hashed: { type: "hashed", generation: 1, hash: hash("e") },
      evaluationHeld: { type: "evaluationHeld", generation: 1, evaluation: evaluationOf("test", 1) },
      prepared: { type: "prepared", stepsPerEpoch: 1, ready },
      ringOpen: { type: "ringOpen", generation: 1 },
      quiet: { type: "quiet", generation: 1 },
    };
    t.match(connected().input(inputs[answer]).at(-1), { type: "end", exitCode: 1, code: "UNEXPECTED_INPUT" });
  });

/** Ranks whose tails are the same, and whose words from the coordinator come at any time, must not part ways. */
t.test("ranks that are told to stop at different steps stop after the same one", async (t) => {
  const ranks = fc.array(fc.nat(6), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(ranks, (toldBefore) => {
      const seatsOf = (rank: number) => (rank === 0 ? config.seats - toldBefore.length + 1 : 1);
      const world = toldBefore.map(() => stepping({ stepsPerEpoch: 100 }));
      const hasPlan = world.map(() => false);
      for (let step = 0; step < 12; step++) {
        // The step under way was given the plan, or not, when it began: hence first the tail, then the coordinator's word.
        const plan = hasPlan.reduce((sum, has, rank) => sum + (has ? seatsOf(rank) : 0), 0);
        const isDone = world.map((rank, index) => {
          if (toldBefore[index] === step) rank.input(stop);
          const words = rank.step({ plan });
          hasPlan[index] = (toldBefore[index] ?? 0) <= step;
          return words.at(-1) === "WorkerDone";
        });
        const expected = step === Math.max(...toldBefore) + 1;
        assert.deepEqual(
          isDone,
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
