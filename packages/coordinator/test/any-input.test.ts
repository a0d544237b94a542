/** Every phase answers every input: whatever workers say, in whatever order, and however they go. */
import assert from "node:assert/strict";
import { encodeControl, parseCoordinatorMessage, type WorkerMessage } from "@ringmaster/protocol";
import fc from "fast-check";
import t from "tap";
import type { CoordinatorInput } from "../src/coordinator-io.ts";
import { connectionOf, type DrivenCore, gathering, preparing, resumeAt, stepping } from "./fixtures/core.ts";
import { config, done, evaluated, hash, held, helloOf, readyWith, stateOf } from "./fixtures/messages.ts";

const maxRanks = 3;
const worker = fc.nat(maxRanks);
const step = fc.nat(12);
const generation = fc.constantFrom(0, 1, 1, 1, 1, 2);
const digit = fc.constantFrom("e", "e", "e", "f");

const message: fc.Arbitrary<WorkerMessage> = fc.oneof(
  fc
    .record({
      index: worker,
      configHash: digit,
      threads: fc.integer({ min: 1, max: 8 }),
      port: fc.constantFrom(0, 4000),
    })
    .map(({ index, configHash, threads, port }) =>
      helloOf(index, { configHash: hash(configHash === "e" ? "c" : "f"), threads, ring: { host: "localhost", port } }),
    ),
  fc.record({ generation, stateHash: digit.map(hash) }).map(readyWith),
  fc.record({ step, generation }).map(({ step, generation }) => held(step, { generation })),
  step.map(evaluated),
  fc.record({ type: fc.constant("WorkerStateHash" as const), generation, step, hash: digit.map(hash) }),
  step.map((at) => stateOf(at, 140)),
  fc.record({ step, stopped: fc.boolean() }).map(({ step, stopped }) => done(step, stopped)),
  fc.record({
    type: fc.constant("WorkerFailed" as const),
    generation,
    code: fc.constantFrom("LINK_LOST", "BAD_PEER"),
    message: fc.string({ maxLength: 2000 }),
  }),
  fc.record({ type: fc.constant("WorkerBye" as const), reason: fc.string() }),
  fc.constant({ type: "WorkerHeartbeat" as const, sentAtMs: 1 }),
);

const connection = worker.map(connectionOf);
const input: fc.Arbitrary<CoordinatorInput> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ type: fc.constant("message" as const), connection, message }) },
  fc.record({
    type: fc.constant("malformed" as const),
    connection,
    code: fc.constant("MESSAGE_UNKNOWN"),
    message: fc.constantFrom("expected a type", "x".repeat(5000)),
  }),
  fc.record({ type: fc.constant("closed" as const), connection, reason: fc.string() }),
  fc.record({ type: fc.constant("saved" as const), step, folder: fc.constant("/runs/x") }),
  fc.record({ type: fc.constant("saveFailed" as const), step, message: fc.string() }),
  fc.record({ type: fc.constant("stop" as const), reason: fc.string() }),
  { weight: 3, arbitrary: fc.constant({ type: "tick" as const }) },
);

const options = fc.record({
  ranks: fc.integer({ min: 1, max: maxRanks }),
  resume: fc.constantFrom(null, resumeAt(4)),
  // Two seats for three ranks cannot be.
  configFor: fc.constantFrom(2, 4).map((seats) => () => ({ ...config, seats })),
});
const start = fc.record({ from: fc.constantFrom(gathering, preparing, stepping), options });
const inputs = fc.array(fc.record({ input, afterMs: fc.nat(1500) }), { maxLength: 40 });

/** Feeds everything in and checks what must hold of any run. */
function drive(
  { core, input }: DrivenCore,
  sequence: readonly { input: CoordinatorInput; afterMs: number }[],
  first: number,
): void {
  let now = 0;
  let committed = first;
  let ended = core.phase === "ended";
  for (const { input: given, afterMs } of sequence) {
    now += afterMs;
    const effects = input(given, now);
    if (ended) assert.deepEqual(effects, [], "after its end it says nothing");
    for (const effect of effects) {
      assert.ok(!ended, "the end is the last effect");
      if (effect.type === "send") parseCoordinatorMessage(encodeControl(effect.message));
      if (effect.type === "event" && effect.event.type === "committed") {
        committed++;
        assert.equal(effect.event.step, committed, "steps are committed one after another");
      }
      ended = effect.type === "end";
    }
    assert.equal(core.phase === "ended", ended);
  }
}

t.test(
  "no sequence of inputs makes a coordinator throw, speak after its end, or send what a worker cannot read",
  async (t) => {
    fc.assert(
      fc.property(start, inputs, ({ from, options }, sequence) =>
        drive(from(options), sequence, options.resume?.step ?? 0),
      ),
      { numRuns: 1500 },
    );
    t.pass();
  },
);

t.test("each phase answers each input", async (t) => {
  const phases = {
    gathering: () => gathering(),
    preparing: () => preparing(),
    stepping: () => stepping(),
    ended() {
      const driven = stepping();
      driven.input({ type: "saveFailed", step: 1, message: "" });
      return driven;
    },
  };
  for (const [phase, from] of Object.entries(phases)) {
    fc.assert(
      fc.property(input, (given) => {
        const driven = from();
        assert.equal(driven.core.phase, phase);
        drive(driven, [{ input: given, afterMs: 10 }], 0);
      }),
      { numRuns: 300 },
    );
    t.pass(phase);
  }
});

/** The run's own messages, with nothing but the order between workers left open. */
t.test("whatever the order between workers, an undisturbed run ends well, each step committed once", async (t) => {
  const steps = 4;
  const script = (index: number): WorkerMessage[] => [
    ...Array.from({ length: steps }, (_, i) => held(i + 1)),
    { type: "WorkerStateHash", generation: 1, step: steps, hash: hash("e") },
    ...(index === 0 ? [stateOf(steps, 140)] : []),
    done(steps),
  ];
  const order = fc.integer({ min: 1, max: maxRanks }).chain((ranks) =>
    fc.record({
      ranks: fc.constant(ranks),
      turns: fc.shuffledSubarray(
        Array.from({ length: ranks * (steps + 3) }, (_, i) => i % ranks),
        { minLength: ranks * (steps + 3) },
      ),
    }),
  );
  fc.assert(
    fc.property(order, ({ ranks, turns }) => {
      const { input, say } = stepping({ ranks });
      const scripts = Array.from({ length: ranks }, (_, index) => script(index));
      const effects = turns.flatMap((index) => {
        const next = scripts[index]?.shift();
        return next ? say(index, next) : [];
      });
      effects.push(...input({ type: "saved", step: steps, folder: "/runs/x" }));
      const committed = effects.flatMap((e) =>
        e.type === "event" && e.event.type === "committed" ? [e.event.step] : [],
      );
      assert.deepEqual(
        committed,
        Array.from({ length: steps }, (_, i) => i + 1),
      );
      const ends = effects.filter(({ type }) => type === "end");
      assert.deepEqual(ends, [{ type: "end", exitCode: 0, code: "FINISHED", message: "the run is over" }]);
    }),
    { numRuns: 200 },
  );
  t.pass();
});
