/** Every phase answers every input: whatever workers say, in whatever order, and however they go. */
import assert from "node:assert/strict";
import { encodeControl, parseCoordinatorMessage, type WorkerMessage } from "@ringmaster/protocol";
import fc from "fast-check";
import t from "tap";
import type { CoordinatorInput } from "../src/coordinator-io.ts";
import {
  connectionOf,
  type DrivenCore,
  gathering,
  preparing,
  proceedingOf,
  recoveredWith,
  regrouping,
  resumeAt,
  stepping,
} from "./fixtures/core.ts";
import {
  config,
  done,
  evaluated,
  hash,
  heartbeat,
  held,
  helloOf,
  idOf,
  progressAt,
  readyWith,
  standingAt,
  stateHash,
  stateIdOf,
  stateOf,
} from "./fixtures/messages.ts";

const maxRanks = 3;
const worker = fc.nat(maxRanks);
const step = fc.nat(8);
const generation = fc.constantFrom(0, 1, 1, 1, 2, 2, 3);
const digit = fc.constantFrom("e", "e", "e", "f");
const phase = fc.constantFrom("unprepared", "unprepared", "spare", "regrouping", "stepping", "stepping", "done");
const standing = fc
  .record({ phase, generation, step, linksUp: fc.boolean() })
  .map(({ phase, generation, step, linksUp }) =>
    standingAt(phase, { generation, step, linksUp, stateId: stateIdOf(step) }),
  );
const reason = fc.string({ maxLength: 20 });

const message: fc.Arbitrary<WorkerMessage> = fc.oneof(
  fc
    .record({ index: worker, configHash: digit, threads: fc.integer({ min: 1, max: 8 }), standing })
    .map(({ index, configHash, ...said }) =>
      helloOf(index, { configHash: hash(configHash === "e" ? "c" : "f"), ...said }),
    ),
  fc
    .record({ seedHash: digit, probeHash: digit, seatCapacity: fc.integer({ min: 1, max: 4 }) })
    .map(({ seedHash, probeHash, seatCapacity }) =>
      readyWith({ seedHash: hash(seedHash), probeHash: hash(probeHash), seatCapacity }),
    ),
  fc.record({ generation, step: fc.integer({ min: -1, max: 8 }), digit }).map(({ generation, step, digit }) => ({
    type: "WorkerRegrouped" as const,
    generation,
    step,
    stateId: digit === "e" ? stateIdOf(Math.max(0, step)) : "f".repeat(16),
  })),
  fc
    .record({ step, generation, plan: fc.constantFrom(0, 0, 4) })
    .map(({ step, generation, plan }) => held(step, { generation, tail: { ...held(step).tail, plan } })),
  step.map((at) => evaluated(at)),
  fc.tuple(step, digit, generation).map((said) => stateHash(...said)),
  fc.tuple(step, generation).map(([at, of]) => stateOf(at, { generation: of })),
  fc.tuple(step, fc.boolean(), generation).map((said) => done(...said)),
  fc.record({
    type: fc.constant("WorkerLinkLost" as const),
    generation,
    peer: fc.option(worker.map(idOf)),
    message: reason,
  }),
  fc.record({
    type: fc.constant("WorkerFailed" as const),
    concerns: fc.constantFrom("run", "worker", "worker", "worker"),
    code: fc.constantFrom("LINK_LOST", "BAD_PEER"),
    message: fc.string({ maxLength: 2000 }),
  }),
  fc.record({ type: fc.constantFrom("WorkerBye" as const, "WorkerLeaving" as const), reason }),
  fc.constantFrom(0, 1_000_000).map(heartbeat),
);

const connection = worker.map(connectionOf);
const input: fc.Arbitrary<CoordinatorInput> = fc.oneof(
  { weight: 20, arbitrary: fc.record({ type: fc.constant("message" as const), connection, message }) },
  { weight: 6, arbitrary: fc.constant({ type: "recorded" as const }) },
  { weight: 3, arbitrary: fc.constant({ type: "tick" as const }) },
  fc.record({
    type: fc.constant("malformed" as const),
    connection,
    code: fc.constant("MESSAGE_UNKNOWN"),
    message: fc.constantFrom("expected a type", "x".repeat(5000)),
  }),
  fc.record({ type: fc.constant("closed" as const), connection, reason, isDead: fc.boolean() }),
  step.map((at) => ({ type: "stateArrived" as const, step: at, stateId: stateIdOf(at) })),
  step.map((at) => ({
    type: "saved" as const,
    checkpoint: {
      ...{ step: at, stateId: stateIdOf(at), progress: progressAt(at), totalBytes: 140, folder: "/runs/x", pauseMs: 0 },
    },
  })),
  fc.record({
    type: fc.constant("sourceLost" as const),
    step,
    message: reason,
    next: fc.option(
      step.map((at) => ({ step: at, stateId: stateIdOf(at), progress: progressAt(at), totalBytes: 140 })),
    ),
  }),
  fc.record({
    type: fc.constant("saveFailed" as const),
    step,
    failure: fc.record({ code: fc.constant("ENOSPC"), message: reason, isRetryable: fc.boolean() }),
  }),
  step.map((at) => ({ type: "kept" as const, step: at })),
  fc.record({ type: fc.constant("stop" as const), reason }),
  fc.record({ type: fc.constant("replaced" as const), message: reason }),
  fc.record({ type: fc.constant("failed" as const), code: fc.constant("NO_MEMORY"), message: reason }),
);

const opened = { kind: "opened", generation: 2, members: [idOf(0), idOf(1), idOf(2)] } as const;
const options = fc
  .record({
    ranks: fc.integer({ min: 1, max: maxRanks }),
    resume: fc.constantFrom(null, resumeAt(4)),
    balance: fc.constantFrom("threads" as const, "speed" as const),
    // Two seats for three ranks cannot be.
    seats: fc.constantFrom(2, 4),
    everyMinutes: fc.constantFrom(null, 0.01),
    recovered: fc.constantFrom(undefined, null, opened, proceedingOf([0, 1], { step: 4 }), proceedingOf([0])),
  })
  .map(({ ranks, resume, balance, seats, everyMinutes, recovered }) => ({
    ...{ ranks, resume, balance },
    configFor: () => ({ ...config, seats, checkpoint: { everySteps: null, everyMinutes, keep: 3 } }),
    ...(recovered === undefined ? {} : recoveredWith(recovered)),
  }));
const starts = { gathering, preparing, regrouping, stepping };
const from = fc.constantFrom(...Object.values(starts));
const inputs = fc.array(fc.record({ given: input, afterMs: fc.nat(1500) }), { maxLength: 40 });

/** Feeds everything in and checks what must hold of any run. */
function drive(
  { core, unflushed }: DrivenCore,
  sequence: readonly { readonly given: CoordinatorInput; readonly afterMs: number }[],
): void {
  let now = 0;
  let { committed } = core;
  let isEnded = core.phase === "ended";
  // Of a record that was begun before nothing is known here.
  let isWriting = true;
  unflushed({ type: "recorded" });
  isWriting = false;
  let generation = core.record?.generation ?? 0;
  for (const { given, afterMs } of sequence) {
    now += afterMs;
    if (given.type === "recorded") isWriting = false;
    const effects = unflushed(given, now);
    if (isEnded) assert.deepEqual(effects, [], "after its end it says nothing");
    for (const effect of effects) {
      assert.ok(!isEnded, "the end is the last effect");
      if (effect.type === "send") parseCoordinatorMessage(encodeControl(effect.message));
      if (effect.type === "record") {
        assert.ok(!isWriting, "one record is written at a time");
        isWriting = true;
        assert.ok(
          effect.record.kind === "opened"
            ? effect.record.generation > generation
            : effect.record.generation === generation,
          "every generation is opened once, under a higher number",
        );
        generation = effect.record.generation;
        assert.ok(effect.usedGeneration >= generation);
      }
      if (effect.type === "event" && effect.event.type === "restored") committed = effect.event.step;
      if (effect.type === "event" && effect.event.type === "committed") {
        assert.ok(effect.event.step > committed, "steps are committed in order");
        committed = effect.event.step;
      }
      isEnded = effect.type === "end";
    }
    assert.equal(core.phase === "ended", isEnded);
  }
}

t.test(
  "no sequence of inputs makes a coordinator throw, speak after its end, or send what nobody can read",
  async (t) => {
    fc.assert(
      fc.property(from, options, inputs, (start, given, sequence) => drive(start(given), sequence)),
      { numRuns: 4000 },
    );
    t.pass();
  },
);

t.test("each phase answers each input", async (t) => {
  for (const [name, start] of Object.entries(starts)) {
    fc.assert(
      fc.property(input, (given) => drive(start(), [{ given, afterMs: 10 }])),
      { numRuns: 500 },
    );
    t.pass(name);
  }
});
