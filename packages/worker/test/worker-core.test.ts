import { nextStateId, seedStateId } from "@ringmaster/protocol";
import t from "tap";
import type { WorkerEffect, WorkerInput } from "../src/worker-io.ts";
import { connected, done, newcomer, preparing, regrouping, spare, stepping } from "./fixtures/core.ts";
import {
  config,
  evaluationOf,
  fetchFrom,
  hash,
  heard,
  idAfter,
  identity,
  idOf,
  kept,
  loadCheckpoint,
  loadSeed,
  ownId,
  plan,
  proceed,
  progressAt,
  ready,
  regroup,
  saved,
  startOf,
  stepHeld,
  stop,
  welcome,
} from "./fixtures/messages.ts";

const quiet = (generation: number): WorkerInput => ({ type: "quiet", generation });
const up: WorkerInput = { type: "connected", workerId: ownId };
const down: WorkerInput = { type: "disconnected", message: "the coordinator's connection is lost" };
const copied = (generation: number, step: number, stateId: string): WorkerInput => ({
  type: "copied",
  generation,
  step,
  stateId,
  progress: progressAt(step),
  effect: null,
  history: [],
});
const hashed = (generation = 1): WorkerInput => ({ type: "hashed", generation, hash: hash("e") });
const evaluated = (split: "validation" | "test", loss?: number, generation = 1): WorkerInput => ({
  type: "evaluationHeld",
  generation,
  evaluation: evaluationOf(split, 60, loss),
});
const said = (effects: readonly WorkerEffect[]) =>
  effects.flatMap((effect) => (effect.type === "send" ? [effect.message] : []));
const ofType = <Type extends WorkerEffect["type"]>(effects: readonly WorkerEffect[], type: Type) =>
  effects.filter((effect): effect is Extract<WorkerEffect, { type: Type }> => effect.type === type);

// The way into a world.

t.test("a worker says who it is, prepares when it is told for what, and says that it is ready", async (t) => {
  const { core, input } = newcomer();
  const standing = {
    phase: "unprepared",
    epoch: 0,
    generation: 0,
    step: -1,
    stateId: seedStateId,
    linksUp: true,
  };
  t.same(said(input(up)), [{ type: "WorkerHello", protocol: 1, workerId: ownId, ...identity, standing }]);
  t.same(input(welcome(1)), []);
  t.same(input(startOf()), [{ type: "prepare", config }]);
  t.same(said(input({ type: "prepared", stepsPerEpoch: 5, ready })), [
    { type: "WorkerReady", stepsPerEpoch: 5, totalSteps: 10, ...ready },
  ]);
  t.equal(core.phase, "spare");
});

t.test("what is told twice, because words cross, is done once", async (t) => {
  const { words } = preparing();
  t.same(words(startOf()), []);
  t.same(words({ type: "prepared", stepsPerEpoch: 5, ready }), ["WorkerReady"]);
  t.same(words(startOf()), []);
});

t.test("a member stops, answers once it is at rest, loads, proceeds, and steps", async (t) => {
  const { core, input, words } = spare();
  t.same(words(regroup(1, 0, 1)), ["stop"]);
  t.same(said(input(quiet(1))), [{ type: "WorkerRegrouped", generation: 1, step: -1, stateId: seedStateId }]);
  t.match(input(loadSeed(1)), [{ type: "load", generation: 1, step: 0, source: { kind: "seed" } }]);
  const loaded = input({ type: "loaded", generation: 1, step: 0, stateId: seedStateId });
  t.same(said(loaded), [{ type: "WorkerRegrouped", generation: 1, step: 0, stateId: seedStateId }]);
  t.match(ofType(loaded, "offer"), [
    { generation: 1, step: 0, stateId: seedStateId, progress: { step: 0 }, effect: null },
  ]);
  t.match(ofType(input(proceed(1, 0, seedStateId, 1, 0)), "openRing"), [
    {
      generation: 1,
      rank: 1,
      seating: [0, 0, 1, 1],
      peers: [{ workerId: idOf(1) }, { workerId: ownId }],
      seats: [2, 3],
    },
  ]);
  t.same(input({ type: "ringOpen", generation: 1 }), [
    { type: "step", step: 0, tag: `${seedStateId}/0`, plan: 0, lossScale: 1, update: null },
  ]);
  t.equal(core.phase, "stepping");
});

t.test(
  "a held step is said with its sums and its state's id, and the next follows with the optimizer's update",
  async (t) => {
    const { input } = stepping();
    const held = stepHeld();
    t.same(input(held), [
      {
        type: "send",
        message: {
          type: "WorkerHeld",
          generation: 1,
          step: 1,
          stateId: idAfter(1),
          tail: { loss: 32, correct: 16, samples: 64, plan: 0, overflowed: 0, receipt: [1, 2, 3, 4] },
          timing: held.timing,
          memoryBytes: 1000,
        },
      },
      {
        type: "step",
        step: 1,
        tag: `${idAfter(1)}/1`,
        plan: 0,
        lossScale: 1,
        update: { optimizerStep: 1, samples: 64, lossScale: 1 },
      },
    ]);
    t.same(input({ type: "updated" }), [], "no word is needed: the step is under way");
  },
);

// The boundary.

const everything = { hashEverySteps: 3, checkpoint: { everySteps: 2, everyMinutes: null, keep: 3 } };
const saving = ["hash", "WorkerStateHash", "snapshot", "upload"];
const validating = ["validation", "WorkerEvaluated"];
const boundaries = [
  ["WorkerHeld", "step 1 after update"],
  ["WorkerHeld", "update", ...saving, "step 2"],
  ["WorkerHeld", "update", ...validating, ...saving, "step 3"],
  ["WorkerHeld", "update", ...saving, "step 4"],
  ["WorkerHeld", "step 5 after update"],
  ["WorkerHeld", "update", ...validating, ...saving, "test", "WorkerEvaluated", "WorkerDone"],
];
const writersAlone = ["WorkerEvaluated", "upload"];
for (const rank of [0, 1] as const)
  t.test(
    `rank ${rank} works through each boundary in the one order${rank === 0 ? "" : ", and leaves upload and reports to rank 0"}`,
    async (t) => {
      const { core, step } = stepping({ rank, stepsPerEpoch: 3, config: everything });
      for (const [index, words] of boundaries.entries())
        t.same(
          step(),
          words.filter((word) => rank === 0 || !writersAlone.includes(word)),
          `after step ${index}`,
        );
      t.equal(core.phase, "done");
    },
  );

t.test("a run that ends by its steps ends in the middle of an epoch", async (t) => {
  const { step, words } = stepping({ config: { maxSteps: 2 } });
  step();
  t.same(step(), ["WorkerHeld", "update", ...saving, "test", "WorkerEvaluated", "WorkerDone"]);
  t.same(words(heard({ type: "CoordinatorFinish", reason: "the run is over" })), ["end FINISHED"]);
});

t.test("a snapshot has the progress that the validation left, its hash and its state's id", async (t) => {
  const { input } = stepping({ stepsPerEpoch: 1 });
  input(stepHeld(), { type: "updated" });
  t.match(input(evaluated("validation")).at(-1), { type: "hash", generation: 1, progress: { best: { step: 1 } } });
  t.match(ofType(input(hashed()), "snapshot"), [
    { progress: { step: 1, epoch: 1, best: { step: 1, accuracy: 0.6 } }, stateId: idAfter(1), stateHash: hash("e") },
  ]);
});

t.test("a state that is on disk already is not copied for it", async (t) => {
  const { input, step } = stepping({ stepsPerEpoch: 1 });
  t.match(input(saved(1)), [{ type: "saved", step: 1 }]);
  t.notOk(step().includes("snapshot"));
  t.ok(step().includes("snapshot"));
});

t.test("the test set leaves no trace in the state", async (t) => {
  const { core, step } = stepping({ stepsPerEpoch: 1, config: { epochs: 1 } });
  t.ok(step().includes("test"));
  t.same(
    core.progress.evaluations.map(({ split }) => split),
    ["validation"],
  );
});

// What is not finite, or not what the sampler says.

t.test("a step with wrong samples concerns the run", async (t) => {
  const { input } = stepping();
  t.match(input(stepHeld({ samples: 63 })), [
    { type: "send", message: { type: "WorkerFailed", concerns: "run", code: "RECEIPT_WRONG" } },
    { type: "end", exitCode: 1, code: "RECEIPT_WRONG" },
  ]);
});

t.test("a gradient that is not finite ends the run, naming what is not", async (t) => {
  const { input } = stepping();
  t.match(input(stepHeld({ overflowed: 1 }, 1, "conv/kernel")), [
    {
      message: {
        type: "WorkerFailed",
        concerns: "run",
        code: "GRADIENT_NOT_FINITE",
        message: /^step 1: .*conv\/kernel/,
      },
    },
    { type: "end", exitCode: 1 },
  ]);
});

t.test("a step that is skipped leaves the state as it was, but is a step", async (t) => {
  const { core, input, step } = stepping({ config: { onNotFinite: "skip" } });
  input(stepHeld());
  t.match(input(stepHeld({ loss: Number.NaN, overflowed: 4 })), [
    { message: { type: "WorkerHeld", step: 2 } },
    { type: "step", step: 2, update: null },
  ]);
  t.match(core.progress, { step: 2, optimizerSteps: 1, skippedInRow: 1, epochSums: { loss: 32, samples: 64 } });
  t.same(step(), ["WorkerHeld", "step 3 after update"]);
  t.match(core.progress, { step: 3, optimizerSteps: 2, skippedInRow: 0 });
});

t.test("ten steps skipped one after another end the run", async (t) => {
  const { input } = stepping({ stepsPerEpoch: 100, config: { onNotFinite: "skip" } });
  for (let step = 0; step < 9; step++) t.match(input(stepHeld({ overflowed: 1 })).at(-1), { type: "step" });
  t.match(input(stepHeld({ overflowed: 1 })).at(-1), {
    type: "end",
    code: "GRADIENT_NOT_FINITE",
    message: /in 10 steps/,
  });
});

t.test(
  "a step that is gone back for ends this generation's stepping, and is left out from the checkpoint on",
  async (t) => {
    const { core, input } = stepping({ config: { onNotFinite: "restore" } });
    input(stepHeld(), { type: "updated" });
    t.match(input(stepHeld({ loss: Number.NaN }, 1, "conv/kernel")), [
      {
        message: {
          type: "WorkerSpoiled",
          generation: 1,
          step: 1,
          message: /^step 2: the loss is NaN \(conv\/kernel\)$/,
        },
      },
    ]);
    t.match(input({ type: "disconnected", message: "" }, { type: "connected", workerId: idOf(0) }), [
      { type: "log" },
      { type: "log" },
      { message: { type: "WorkerHello" } },
      { message: { type: "WorkerReady" } },
      { message: { type: "WorkerSpoiled", step: 1 } },
    ]);
    t.equal(core.progress.step, 1, "it steps no more");
  },
);

const inFloat16 = { config: { precision: "float16" as const, hashEverySteps: 2 } };
t.test("in float16 an overflow leaves the update out and halves the scale, on what is due too", async (t) => {
  const { core, input } = stepping(inFloat16);
  t.match(input(stepHeld()).at(-1), { type: "step", lossScale: 1024, update: { optimizerStep: 1, lossScale: 1024 } });
  input({ type: "updated" });
  t.match(input(stepHeld({ overflowed: 1 })).at(-1), { type: "hash" });
  t.match(input(hashed()).at(-1), { type: "step", step: 2, lossScale: 512, update: null });
  t.match(input(stepHeld()).at(-1), { update: { optimizerStep: 2, lossScale: 512 } });
  t.match(core.progress, { step: 3, optimizerSteps: 2, lossScale: { scale: 512, goodSteps: 1 } });
});

t.test("a validation whose loss is not finite concerns the run; a test's ends nothing", async (t) => {
  const validation = stepping({ stepsPerEpoch: 1 });
  validation.input(stepHeld(), { type: "updated" });
  t.match(validation.input(evaluated("validation", Number.NaN)), [
    { message: { type: "WorkerFailed", concerns: "run", code: "LOSS_NOT_FINITE", message: /validation after step 1/ } },
    { type: "end" },
  ]);
  const test = stepping({ stepsPerEpoch: 1, config: { epochs: 1, validation: { count: 0, blockSize: 1 } } });
  test.input(stepHeld(), { type: "updated" }, hashed());
  t.equal(said(test.input(evaluated("test", Number.NaN))).at(-1)?.type, "WorkerDone");
});

// Plans.

t.test(
  "a planned stop travels with the next step, and takes effect after the one that all seats had it in",
  async (t) => {
    const { input, step } = stepping();
    t.same(input(stop), [], "the step under way does not have it");
    t.match(input(stepHeld({ plan: 0 })).at(-1), { type: "step", plan: 1 });
    t.same(step({ plan: config.seats }), ["WorkerHeld", "update", ...saving, "WorkerDone"]);
  },
);

t.test("a planned checkpoint is made at that boundary, and the run goes on without the plan", async (t) => {
  const { input, step } = stepping();
  input(plan(1, "checkpoint"), stepHeld());
  t.same(step({ plan: config.seats }), ["WorkerHeld", "update", ...saving, "step 2"]);
  input(plan(1, "checkpoint"));
  t.match(input(stepHeld()).at(-1), { type: "step", plan: 0 }, "a plan that took effect is old");
});

t.test("a stopped rank says so, and does not test; a stop with the last step is the run's end", async (t) => {
  const stoppedEarly = stepping();
  stoppedEarly.input(stop, stepHeld(), stepHeld({ plan: config.seats }), { type: "updated" });
  t.match(said(stoppedEarly.input(hashed())).at(-1), { type: "WorkerDone", generation: 1, step: 2, stopped: true });
  const { input, step } = stepping({ config: { maxSteps: 2 } });
  input(stop);
  step();
  t.ok(step({ plan: config.seats }).includes("test"));
});

t.test("a stop counts only when all seats have it, this rank's too", async (t) => {
  const { input, step } = stepping({ stepsPerEpoch: 100 });
  input(stop);
  step({ plan: config.seats });
  for (const plan of [0, 1, config.seats - 1]) t.match(step({ plan }).at(-1), /^step .* after update$/);
  t.equal(step({ plan: config.seats }).at(-1), "WorkerDone");
});

// Regrouping.

t.test(
  "a survivor says which step it holds, once it is at rest, and offers it with its progress before the boundary",
  async (t) => {
    const { input, words, step } = stepping({ stepsPerEpoch: 2 });
    step();
    input(stepHeld(), { type: "updated" }, evaluated("validation"));
    t.same(words(regroup(2, 0, 1)), ["stop", "WorkerEvaluated"]);
    const effects = input(quiet(2));
    t.same(said(effects), [{ type: "WorkerRegrouped", generation: 2, step: 2, stateId: idAfter(2) }]);
    t.match(ofType(effects, "offer"), [
      { generation: 2, step: 2, progress: { step: 2, evaluations: [] }, effect: null },
    ]);
  },
);

t.test(
  "the boundary of the step that is held is worked again, from its start, and with the same outcome",
  async (t) => {
    const { core, input, play, step } = stepping({ stepsPerEpoch: 2 });
    step();
    t.same(step(), ["WorkerHeld", "update", ...validating, ...saving, "step 2"]);
    const { progress } = core;
    play(regroup(2, 0, 1));
    t.match(
      input(proceed(2, 2, idAfter(2), 0, 1)).map(({ type }) => type),
      ["log", "rewind", "upload", "openRing"],
    );
    t.same(play({ type: "ringOpen", generation: 2 }), [...validating, ...saving, "step 2"]);
    t.same(core.progress, progress);
  },
);

t.test("a step that was interrupted is tried again under the tag of the same state", async (t) => {
  const { input, play, step } = stepping();
  step();
  play(regroup(2, 0, 1));
  input(proceed(2, 1, idAfter(1), 0));
  t.match(input({ type: "ringOpen", generation: 2 }), [
    { type: "step", step: 1, tag: `${idAfter(1)}/1`, update: null },
  ]);
  const stateId = nextStateId(idAfter(1), 2);
  t.match(said(input(stepHeld({}, 2))), [{ step: 2, generation: 2, stateId }], "another attempt is another state");
});

t.test("a regrouping while the optimizer runs: the step counts, and its answer comes late", async (t) => {
  const { core, input, words } = stepping({ config: { hashEverySteps: 1 } });
  t.same(words(stepHeld()), ["WorkerHeld", "update"]);
  t.same(words(regroup(2, 0, 1)), ["stop"]);
  t.same(words({ type: "updated" }), []);
  t.same(said(input(quiet(2))), [{ type: "WorkerRegrouped", generation: 2, step: 1, stateId: idAfter(1) }]);
  t.equal(core.phase, "regrouping");
});

t.test("a member that is behind copies the state with its progress and the plan that took effect", async (t) => {
  const { core, input, play, words } = stepping();
  input(stop);
  play(regroup(2, 1, 0));
  t.match(input(fetchFrom(2, 1, "00000000000000aa")), [
    {
      type: "copy",
      generation: 2,
      step: 1,
      stateId: "00000000000000aa",
      position: 1,
      from: [{ port: 4000 }, { port: 4001 }],
    },
  ]);
  t.same(words(fetchFrom(2, 1, "00000000000000aa")), [], "a copy under way goes on");
  t.same(words(regroup(2, 1, 0)), ["WorkerRegrouped"], "a repeat is answered, and undoes nothing");
  const effect = { planId: 1, change: "stop" as const, after: 1 };
  const progress = progressAt(1);
  const state = { generation: 2, step: 1, stateId: "00000000000000aa", progress, effect };
  const evaluated = {
    type: "WorkerEvaluated" as const,
    generation: 1,
    step: 1,
    evaluation: evaluationOf("validation", 60),
  };
  const offer = input({ type: "copied", ...state, history: [evaluated] });
  t.match(offer, [{ type: "log" }, { message: { type: "WorkerRegrouped" } }, { type: "offer", ...state }]);
  t.match(offer.at(-1), { history: [evaluated] }, "whoever copies it from here learns the same");
  t.same(core.progress, progress);
  t.same(play(proceed(2, 1, "00000000000000aa", 1, 0)), [
    "rewind",
    "openRing",
    "hash",
    "WorkerStateHash",
    "snapshot",
    "WorkerDone",
  ]);
});

t.test("a copy that fails leaves what is held, and waits for the next generation", async (t) => {
  const { input, play, words } = stepping();
  play(regroup(2, 1, 0));
  input(fetchFrom(2, 1, "00000000000000aa"));
  t.same(said(input({ type: "copyFailed", generation: 2, peer: 0, message: "it is gone" })), [
    { type: "WorkerLinkLost", generation: 2, peer: idOf(1), message: "it is gone" },
  ]);
  t.same(words(fetchFrom(2, 1, "00000000000000aa")), ["copy"], "it may be asked again");
  input(regroup(3, 0));
  t.match(said(input(quiet(3))), [{ type: "WorkerRegrouped", step: 0 }]);
});

t.test("a newer generation cuts a copy off; what comes of it is passed over", async (t) => {
  const { core, input, play, words } = regrouping();
  input(fetchFrom(1, 1, "00000000000000aa"));
  play(regroup(2, 0, 1));
  t.same(words(copied(1, 1, "00000000000000aa"), { type: "copyFailed", generation: 1, peer: 0, message: "" }), []);
  t.equal(core.standing.step, -1);
});

t.test("a checkpoint's boundary was worked before it was made: the next step follows", async (t) => {
  const { core, input, play } = regrouping();
  const evaluation = { step: 5, epoch: 1, split: "validation" as const, loss: 1, accuracy: 0.5, samples: 100 };
  const progress = { ...progressAt(5), epoch: 1, stepInEpoch: 0, evaluations: [evaluation] };
  t.match(input(loadCheckpoint(1, progress, "00000000000000aa")), [{ type: "load", source: { kind: "checkpoint" } }]);
  t.same(play({ type: "loaded", generation: 1, step: 5, stateId: "00000000000000aa" }), ["WorkerRegrouped", "offer"]);
  t.same(play(proceed(1, 5, "00000000000000aa", 0, 1)), ["rewind", "upload", "openRing", "step 5"]);
  t.same(core.progress, progress);
});

t.test("a run that is resumed at its end is tested, and done", async (t) => {
  const { input, play } = regrouping();
  const evaluation = { step: 10, epoch: 2, split: "validation" as const, loss: 1, accuracy: 0.5, samples: 100 };
  input(loadCheckpoint(1, { ...progressAt(10), evaluations: [evaluation] }, "00000000000000aa"));
  play({ type: "loaded", generation: 1, step: 10, stateId: "00000000000000aa" });
  t.same(play(proceed(1, 10, "00000000000000aa", 0, 1)), [
    "rewind",
    "upload",
    "openRing",
    "test",
    "WorkerEvaluated",
    "WorkerDone",
  ]);
});

t.test("a load gives up what is held; one that is repeated is loaded again", async (t) => {
  const { core, play, words } = stepping();
  play(regroup(2, 0, 1));
  const load = loadCheckpoint(2, progressAt(3), "00000000000000aa");
  t.same(words(load), ["load"]);
  t.equal(core.standing.step, -1);
  t.same(words(load), ["load"], "its bytes come again, too");
  t.same(words(loadSeed(2), loadSeed(2)), ["load"], "the seed needs none");
});

t.test("one that is done regroups like any other, and is done again", async (t) => {
  const { core, play } = done();
  t.same(play(regroup(2, 0, 1)), ["stop", "WorkerEvaluated", "WorkerRegrouped", "offer"]);
  t.match(play(proceed(2, 1, idAfter(1), 0, 1)).slice(-3), ["test", "WorkerEvaluated", "WorkerDone"]);
  t.equal(core.phase, "done");
});

t.test("what comes before it is at rest waits until it is", async (t) => {
  const { input, step, words } = stepping();
  step();
  // A hello while it comes to rest is an answer.
  input(regroup(2, 0, 1), down, up);
  t.same(words(proceed(2, 1, idAfter(1), 0, 1)), []);
  t.same(words(quiet(2)), ["WorkerRegrouped", "offer", "rewind", "upload", "openRing"]);
});

t.test("snapshots, messages and plans of an abandoned history go", async (t) => {
  const { input, play, step } = stepping({ stepsPerEpoch: 1 });
  step();
  step();
  play(regroup(2, 0, 1));
  input(loadCheckpoint(2, progressAt(1), idAfter(1)));
  play({ type: "loaded", generation: 2, step: 1, stateId: idAfter(1) });
  const effects = input(proceed(2, 1, idAfter(1), 0, 1));
  t.match(ofType(effects, "rewind"), [{ step: 1 }]);
  t.same(said(effects), []);
  t.same(
    said(input(down, up)).flatMap((message) => ("step" in message ? [message.step] : [])),
    [1, 1, 1],
  );
});

// Links.

t.test("a link that is lost is said with its neighbour; the rank waits", async (t) => {
  const { core, input, words } = stepping();
  const lost: WorkerInput = { type: "linkLost", generation: 1, peer: 1, message: "it ended" };
  t.same(said(input(lost)), [{ type: "WorkerLinkLost", generation: 1, peer: idOf(1), message: "it ended" }]);
  t.same(words(lost), [], "once");
  t.match(core.standing, { phase: "stepping", linksUp: false });
  t.ok(words(down, up).includes("WorkerLinkLost"), "a coordinator that may not have heard it is told again");
  t.same(words(regroup(2, 0, 1), lost), ["stop"], "the next generation has other links");
});

// The connection.

t.test("without a coordinator it goes on, and tells the next one all that is not on disk", async (t) => {
  const { core, input, step, words } = stepping({ stepsPerEpoch: 2 });
  step();
  input(kept(1), down);
  t.same(step(), ["update", "validation", "hash", "snapshot", "step 2"]);
  t.same(step(), ["step 3 after update"]);
  const { isLeaving, ...standing } = core.standing;
  const told = input(up);
  t.match(said(told)[0], { type: "WorkerHello", workerId: ownId, standing });
  t.same(words(down, up), [
    "WorkerHello",
    "WorkerReady",
    "WorkerHeld",
    "WorkerEvaluated",
    "WorkerStateHash",
    "WorkerHeld",
    "upload",
  ]);
});

t.test("others than rank 0 say evaluations when the world regroups, and to a coordinator that is back", async (t) => {
  const { input, step, words } = stepping({ rank: 1, stepsPerEpoch: 1 });
  t.notOk(step().includes("WorkerEvaluated"), "rank 0 has said it");
  t.same(words(down, up), ["WorkerHello", "WorkerReady", "WorkerHeld", "WorkerEvaluated", "WorkerStateHash"]);
  t.match(said(input(regroup(2, 0))), [{ type: "WorkerEvaluated", step: 1, generation: 1 }]);
});

t.test("one that is done says so again", async (t) => {
  t.equal(done().words(down, up).at(-2), "WorkerDone");
});

t.test("a coordinator that has been replaced is hung up upon, and heard no more", async (t) => {
  const { input, words } = stepping();
  input(welcome(5), down, up);
  t.same(words(welcome(4)), ["hangUp"]);
  t.notOk(words(stepHeld()).includes("WorkerHeld"));
  t.ok(words(up).includes("WorkerHeld"));
});

t.test("a worker that a record is without drops what it has, and comes back as a spare under another id", async (t) => {
  const { core, input, words, play } = stepping();
  t.same(words(stepHeld(), regroup(3, 1)), ["WorkerHeld", "step 1 after update", "drop"]);
  t.match(said(input({ type: "connected", workerId: idOf(7) })), [
    {
      type: "WorkerHello",
      workerId: idOf(7),
      standing: { phase: "spare", generation: 3, step: -1, stateId: seedStateId },
    },
    { type: "WorkerReady" },
  ]);
  t.same(words(stepHeld(), { type: "updated" }, proceed(3, 1, idAfter(1), 1)), [], "what was under way comes late");
  t.same(words(regroup(4, 0, 1)), [], "its former id is nobody's");
  t.same(play(regroup(4, 1, 7)), ["stop", "WorkerRegrouped"]);
  t.equal(core.standing.step, -1);
});

// Ends.

t.test("a member that is asked to leave says so once, and goes when it has no seat", async (t) => {
  const { input, play, words } = stepping();
  t.same(said(input({ type: "terminate", reason: "SIGTERM" })), [{ type: "WorkerLeaving", reason: "SIGTERM" }]);
  t.same(words({ type: "terminate", reason: "SIGTERM" }), []);
  t.ok(words(down, up).includes("WorkerLeaving"));
  t.same(words(stepHeld()), ["WorkerHeld", "step 1 after update"]);
  play(regroup(2, 0, 1));
  t.match(input(proceed(2, 1, idAfter(1), 1)), [
    { message: { type: "WorkerBye", reason: "SIGTERM" } },
    { type: "end", exitCode: 143, code: "TERMINATED" },
  ]);
});

for (const from of [connected, preparing, spare])
  t.test(`who is no member goes at once when it is asked to (${from.name})`, async (t) => {
    t.match(from().input({ type: "terminate", reason: "SIGTERM" }), [
      { message: { type: "WorkerBye" } },
      { type: "end", exitCode: 143, code: "TERMINATED" },
    ]);
  });

const endings: readonly { name: string; input: WorkerInput; said: readonly object[]; end: object }[] = [
  {
    name: "nobody watches over it",
    input: { type: "orphaned", reason: "the supervisor is gone" },
    said: [{ type: "WorkerBye", reason: "the supervisor is gone" }],
    end: { exitCode: 143, code: "TERMINATED", message: "the supervisor is gone" },
  },
  {
    name: "no coordinator comes back",
    input: { type: "patienceOver", message: "none answered" },
    said: [],
    end: { exitCode: 1, code: "COORDINATOR_LOST", message: /^none answered; it held / },
  },
  {
    name: "the coordinator aborts the run",
    input: heard({ type: "CoordinatorAbort", code: "SAMPLES_KILL", message: "look at them" }),
    said: [],
    end: { exitCode: 1, code: "SAMPLES_KILL", message: "look at them" },
  },
  {
    name: "a part of it fails",
    input: { type: "failed", concerns: "worker", code: "COMPUTE_THREAD_ENDED", message: "thread 1 ended" },
    said: [{ type: "WorkerFailed", concerns: "worker", code: "COMPUTE_THREAD_ENDED", message: "thread 1 ended" }],
    end: { exitCode: 1, code: "COMPUTE_THREAD_ENDED", message: "thread 1 ended" },
  },
];
for (const { name, input, said, end } of endings)
  for (const from of [connected, preparing, spare, regrouping, stepping, done])
    t.test(`a worker ends when ${name} (${from.name}), and says nothing more`, async (t) => {
      const driven = from();
      t.match(driven.input(input), [...said.map((message) => ({ type: "send", message })), { type: "end", ...end }]);
      t.equal(driven.core.phase, "ended");
      t.same(driven.input(input, stepHeld(), { type: "updated" }, regroup(9, 0), up), []);
    });

t.test("a worker without a coordinator says which step it held", async (t) => {
  const { input, step } = stepping();
  step();
  t.match(input({ type: "patienceOver", message: "none answered" }), [{ message: "none answered; it held step 1" }]);
  t.match(connected().input({ type: "patienceOver", message: "none answered" }), [
    { message: "none answered; it held no state" },
  ]);
});
