/** Runs without a disturbance: what is committed, shown, planned and written, and how they end. */
import t from "tap";
import type { CoordinatorEffect, SavedCheckpointFacts } from "../src/coordinator-io.ts";
import {
  closedIn,
  committedIn,
  connectionOf,
  type DrivenCore,
  endIn,
  eventsIn,
  gathering,
  greet,
  join,
  preparing,
  proceedingOf,
  recordsIn,
  recoveredWith,
  regroup,
  regrouping,
  resumeAt,
  stepping,
  toldTo,
} from "./fixtures/core.ts";
import {
  config,
  done,
  evaluated,
  hash,
  held,
  heldWithPlan,
  helloOf,
  progressAt,
  readyWith,
  stateHash,
  stateIdOf,
  stateOf,
  tensors,
} from "./fixtures/messages.ts";

/** All ranks say it. */
const allSay = ({ say }: DrivenCore, message: Parameters<DrivenCore["say"]>[1], ranks = 2): CoordinatorEffect[] =>
  [...new Array(ranks).keys()].flatMap((index) => say(index, message));

/** All ranks hold the steps from `first` to `last`. */
const commit = (driven: DrivenCore, last: number, first = 1): CoordinatorEffect[] =>
  Array.from({ length: last - first + 1 }, (_, i) => allSay(driven, held(first + i))).flat();

/** Worker 0's state of a step is here, and all agree on its hash. */
function upload(driven: DrivenCore, step: number): CoordinatorEffect[] {
  allSay(driven, stateHash(step));
  driven.say(0, stateOf(step));
  return driven.input({ type: "stateArrived", step, stateId: stateIdOf(step) });
}

const regroupAll = (driven: DrivenCore, indexes: readonly number[], step: number) =>
  indexes.flatMap((index) => regroup(driven, index, step));

const factsOf = (step: number): SavedCheckpointFacts => ({
  step,
  stateId: stateIdOf(step),
  progress: progressAt(step),
  totalBytes: 140,
  folder: "/runs/x",
  pauseMs: 3,
});
const saved = (step: number) => ({ type: "saved" as const, checkpoint: factsOf(step) });

t.test("a step is committed only when all ranks hold it", async (t) => {
  const { say } = stepping({ ranks: 3 });
  t.same(committedIn([...say(2, held(1)), ...say(0, held(1)), ...say(0, held(2))]), []);
  t.same(committedIn(say(1, held(1))), [1]);
  t.same(committedIn([...say(1, held(2)), ...say(1, held(3))]), []);
  t.same(committedIn(say(2, held(2))), [2]);
});

t.test("a run begins at the seed: members load it, say so, and are sent on together", async (t) => {
  const driven = regrouping();
  const asked = [0, 1].flatMap((index) => regroup(driven, index));
  for (const index of [0, 1])
    t.match(toldTo(index, asked), [{ type: "CoordinatorLoad", generation: 1, step: 0, source: { kind: "seed" } }]);
  t.same(regroup(driven, 1, 0), [], "one of them is there");
  const effects = regroup(driven, 0, 0);
  t.match(recordsIn(effects), [{ kind: "proceeding", generation: 1, seating: [0, 0, 1, 1], step: 0 }]);
  for (const index of [0, 1])
    t.match(toldTo(index, effects), [
      { type: "CoordinatorProceed", generation: 1, peers: [{ port: 5000 }, { port: 5001 }] },
    ]);
  t.match(eventsIn(effects), [
    { type: "began", firstStep: 0, stepsPerEpoch: 5, totalSteps: 10, numericsNote: null, eagerBecause: null },
    { type: "proceeding", generation: 1, step: 0, members: [{ pid: 1000 }, { pid: 1001 }] },
  ]);
});

t.test("nobody is told a record before it is flushed", async (t) => {
  const driven = preparing();
  driven.say(0, readyWith());
  const effects = driven.unflushed({ type: "message", connection: connectionOf(1), message: readyWith() });
  t.match(effects, [
    { type: "record", usedGeneration: 1 },
    { type: "event", event: { type: "regrouping" } },
  ]);
  for (const index of [0, 1])
    t.match(
      toldTo(index, index === 0 ? driven.input({ type: "recorded" }) : []),
      index === 0 ? [{ generation: 1 }] : [],
    );
});

t.test("a resumed run sends everybody the state of its checkpoint, and goes on from there", async (t) => {
  const driven = regrouping({ resume: resumeAt(7) });
  const asked = [0, 1].flatMap((index) => regroup(driven, index));
  const source = { kind: "checkpoint", totalBytes: 140, progress: progressAt(7) };
  for (const index of [0, 1]) {
    t.match(toldTo(index, asked), [{ type: "CoordinatorLoad", step: 7, stateId: stateIdOf(7), source }]);
    const sent = asked.filter((effect) => "connection" in effect && effect.connection === connectionOf(index));
    t.same(sent.at(-1), { type: "sendState", connection: connectionOf(index), generation: 1, step: 7 });
  }
  const effects = [0, 1].flatMap((index) => regroup(driven, index, 7));
  t.match(eventsIn(effects), [
    { type: "began", firstStep: 7 },
    { type: "proceeding", step: 7 },
  ]);
  t.same(committedIn([...allSay(driven, held(7)), ...allSay(driven, held(8))]), [8]);
});

t.test("an evaluation is shown once, when its step is committed: the order is the same in every world", async (t) => {
  const { say } = stepping();
  const event = { type: "evaluated", step: 1, evaluation: evaluated(1).evaluation };
  t.same(eventsIn([...say(0, held(1)), ...say(0, evaluated(1))]), []);
  t.match(eventsIn(say(1, held(1))), [{ type: "committed", step: 1 }, event]);
  t.same(eventsIn(say(0, evaluated(1))), [], "it is told again after a reconnect");
  t.match(eventsIn(say(0, evaluated(1, "test"))), [{ type: "evaluated", evaluation: { split: "test" } }]);
});

t.test("a state is received with all that its checkpoint needs", async (t) => {
  const driven = stepping();
  allSay(driven, stateHash(10));
  const facts = {
    ...{ step: 10, stateId: stateIdOf(10), progress: progressAt(10), layoutHash: hash("1"), stateHash: hash("e") },
    ...{ tensors, config, pauseMs: 3 },
  };
  t.same(driven.say(0, stateOf(10)), [{ type: "receiveState", connection: connectionOf(0), totalBytes: 140, facts }]);
});

t.test("a state is written once it is here, committed, and all ranks' hashes are in and agree", async (t) => {
  const written = (effects: CoordinatorEffect[]) => effects.filter(({ type }) => type === "writeCheckpoint");
  const lines: Record<string, (driven: DrivenCore) => CoordinatorEffect[]> = {
    hash: (driven) => driven.say(1, stateHash(2)),
    arrival: (driven) => driven.input({ type: "stateArrived", step: 2, stateId: stateIdOf(2) }),
    commit: (driven) => driven.say(1, held(2)),
  };
  for (const order of [
    ["hash", "arrival", "commit"],
    ["hash", "commit", "arrival"],
    ["arrival", "commit", "hash"],
    ["commit", "arrival", "hash"],
  ]) {
    const driven = stepping();
    commit(driven, 1);
    for (const message of [held(2), stateHash(2), stateOf(2)]) driven.say(0, message);
    const found = order.map((what) => written(lines[what]?.(driven) ?? []));
    t.same(found, [[], [], [{ type: "writeCheckpoint", step: 2 }]], order.join(", "));
  }
});

t.test("everybody hears that a checkpoint is on disk, those that come back too", async (t) => {
  const driven = stepping();
  commit(driven, 5);
  t.match(upload(driven, 5), [{ type: "writeCheckpoint", step: 5 }]);
  const effects = driven.input(saved(5));
  t.same(eventsIn(effects), [{ type: "saved", step: 5, folder: "/runs/x", pauseMs: 3 }]);
  for (const index of [0, 1]) t.same(toldTo(index, effects), [{ type: "CoordinatorSaved", step: 5 }]);
  driven.close(1, {}, 100);
  t.same(toldTo(1, greet(driven, 1, "stepping", { generation: 1, step: 5 }, 200)).slice(1), [
    { type: "CoordinatorSaved", step: 5 },
    { type: "CoordinatorKept", step: 0 },
  ]);
});

t.test("a state that is on disk already is taken and let go, and whoever offers it is told", async (t) => {
  const driven = stepping();
  commit(driven, 5);
  upload(driven, 5);
  driven.input(saved(5));
  const effects = driven.say(1, stateOf(5));
  t.same(effects, [
    { type: "receiveState", connection: connectionOf(1), totalBytes: 140, facts: null },
    { type: "send", connection: connectionOf(1), message: { type: "CoordinatorSaved", step: 5 } },
  ]);
});

t.test("all hear up to which step is kept what they said, but not beyond what is committed", async (t) => {
  const driven = stepping();
  commit(driven, 5);
  for (const index of [0, 1])
    t.same(toldTo(index, driven.input({ type: "kept", step: 4 })), [{ type: "CoordinatorKept", step: 4 }]);
  t.match(toldTo(0, driven.input({ type: "kept", step: 9 })), [{ step: 5 }]);
});

const inAnyOrder: readonly {
  name: string;
  last: (driven: DrivenCore) => CoordinatorEffect[];
  before: (driven: DrivenCore) => CoordinatorEffect[];
}[] = [
  {
    name: "the save comes last",
    before: (driven) => [...upload(driven, 10), ...allSay(driven, done(10))],
    last: (driven) => driven.input(saved(10)),
  },
  {
    name: "a rank comes last",
    before: (driven) => [...upload(driven, 10), ...driven.say(0, done(10)), ...driven.input(saved(10))],
    last: (driven) => driven.say(1, done(10)),
  },
  {
    name: "the state comes after all were done",
    before: (driven) => [...allSay(driven, done(10)), ...upload(driven, 10)],
    last: (driven) => driven.input(saved(10)),
  },
  {
    name: "an earlier state was still being written",
    before: (driven) => [
      ...upload(driven, 5),
      ...allSay(driven, done(10)),
      ...upload(driven, 10),
      ...driven.input(saved(5)),
    ],
    last: (driven) => driven.input(saved(10)),
  },
];
for (const { name, before, last } of inAnyOrder)
  t.test(`a run is over only when all ranks are done and the last state is saved: ${name}`, async (t) => {
    const driven = stepping();
    commit(driven, 10);
    t.same(endIn(before(driven)), undefined);
    const effects = last(driven);
    t.match(endIn(effects), { exitCode: 0, code: "FINISHED" });
    for (const index of [0, 1]) t.match(toldTo(index, effects).at(-1), { type: "CoordinatorFinish" });
  });

t.test("who was done in a generation that is over says so again in the next", async (t) => {
  const driven = stepping({ ranks: 3, resume: resumeAt(10) });
  driven.say(0, done(10));
  driven.close(2, { isDead: true });
  regroupAll(driven, [0, 1], 10);
  t.equal(endIn(driven.say(1, done(10, false, 2))), undefined);
  t.match(endIn(driven.say(0, done(10, false, 2))), { exitCode: 0, code: "FINISHED" });
});

t.test("a spare hears of the end too", async (t) => {
  const driven = stepping({ configFor: () => ({ ...config, seats: 2 }) });
  join(driven, 2);
  commit(driven, 10);
  upload(driven, 10);
  allSay(driven, done(10));
  t.match(toldTo(2, driven.input(saved(10))), [{ type: "CoordinatorFinish" }]);
});

t.test("a run that is resumed at its end is over when all say so: its last state is saved already", async (t) => {
  const { say } = stepping({ resume: resumeAt(10) });
  t.same(endIn(say(0, done(10))), undefined);
  t.match(endIn(say(1, done(10))), { exitCode: 0, code: "FINISHED" });
});

const full = { code: "ENOSPC", message: "the disk is full", isRetryable: true };

/** All is done, but the last state could not be written. */
function refusedAtTheEnd(failure: typeof full) {
  const driven = stepping();
  commit(driven, 10);
  upload(driven, 10);
  allSay(driven, done(10));
  return { driven, effects: driven.input({ type: "saveFailed", step: 10, failure }) };
}

t.test("the last state is tried until it is on disk; a stop ends the run without it", async (t) => {
  const { driven, effects } = refusedAtTheEnd(full);
  t.match(eventsIn(effects), [{ type: "note", line: /disk is full/ }]);
  t.match(driven.input({ type: "tick" }, 60_000), [{ type: "writeCheckpoint", step: 10 }]);
  t.match(endIn(driven.input({ type: "stop", reason: "Ctrl-C" })), {
    exitCode: 1,
    code: "CHECKPOINT_FAILED",
    message: /step 10.*there is no checkpoint/,
  });
});

t.test("a last state that can never be written ends the run", async (t) => {
  const { effects } = refusedAtTheEnd({ code: "STATE_GONE", message: "its bytes are gone", isRetryable: false });
  t.match(endIn(effects), { exitCode: 1, code: "CHECKPOINT_FAILED" });
});

t.test("a stop before the first step ends the run at once: there is nothing to save", async (t) => {
  for (const start of [gathering, preparing, regrouping]) {
    const driven = start();
    if (start === gathering) driven.say(0, helloOf(0));
    const effects = driven.input({ type: "stop", reason: "Ctrl-C" });
    const message = "Ctrl-C before the first step: there is nothing to save";
    t.match(endIn(effects), { exitCode: 130, code: "STOPPED", message });
    t.match(toldTo(0, effects), [{ type: "CoordinatorAbort", code: "STOPPED" }]);
  }
});

t.test("a stop while stepping is planned by all, saved, and then ends the run with 130", async (t) => {
  const driven = stepping();
  const stopping = driven.input({ type: "stop", reason: "Ctrl-C" });
  t.same(eventsIn(stopping), [{ type: "stopping", reason: "Ctrl-C" }]);
  for (const index of [0, 1]) t.same(toldTo(index, stopping), [{ type: "CoordinatorPlan", planId: 1, change: "stop" }]);
  commit(driven, 2);
  allSay(driven, heldWithPlan(3));
  upload(driven, 3);
  t.same(endIn(allSay(driven, done(3, true))), undefined);
  const effects = driven.input(saved(3));
  t.match(endIn(effects), { exitCode: 130, code: "STOPPED", message: "Ctrl-C" });
  for (const index of [0, 1]) t.match(toldTo(index, effects).at(-1), { type: "CoordinatorFinish", reason: "stopped" });
});

t.test("a stop that comes when the last step is done changes nothing", async (t) => {
  const driven = stepping();
  commit(driven, 10);
  upload(driven, 10);
  driven.say(0, done(10));
  driven.input({ type: "stop", reason: "Ctrl-C" });
  driven.say(1, done(10));
  t.match(endIn(driven.input(saved(10))), { exitCode: 0, code: "FINISHED" });
});

t.test("a run whose workers are all asked to leave is stopped while they hold it", async (t) => {
  const driven = stepping();
  const leaving = { type: "WorkerLeaving", reason: "stopped by SIGTERM" } as const;
  t.match(eventsIn(driven.say(0, leaving)), [{ type: "leaving" }, { type: "regrouping" }]);
  const effects = driven.say(1, leaving);
  t.match(eventsIn(effects).at(-1), { type: "stopping", reason: "all workers leave: stopped by SIGTERM" });
  for (const index of [0, 1]) t.match(toldTo(index, effects).at(-1), { type: "CoordinatorPlan", change: "stop" });
});

t.test("workers that are asked to leave while the last state waits for the disk end nothing", async (t) => {
  const { driven } = refusedAtTheEnd(full);
  const effects = allSay(driven, { type: "WorkerLeaving", reason: "stopped by SIGTERM" });
  t.same(endIn(effects), undefined);
  t.notOk(eventsIn(effects).some(({ type }) => type === "stopping"));
});

t.test("a second stop waits for nothing, and says what is lost", async (t) => {
  const driven = stepping();
  commit(driven, 4);
  driven.input({ type: "stop", reason: "Ctrl-C" });
  t.match(endIn(driven.input({ type: "stop", reason: "Ctrl-C" })), {
    exitCode: 1,
    code: "STOPPED_UNSAVED",
    message: "Ctrl-C: ended at once, so steps 1 to 4 are in no checkpoint",
  });
});

t.test("a stop while nobody is left to train ends the run", async (t) => {
  const driven = stepping({ resume: resumeAt(7) });
  for (const index of [0, 1]) driven.close(index, { isDead: true });
  t.match(endIn(driven.input({ type: "stop", reason: "Ctrl-C" })), { exitCode: 130, code: "STOPPED" });
});

t.test("a stop that everybody dies under ends the run", async (t) => {
  const driven = stepping({ resume: resumeAt(7) });
  t.same(endIn(driven.input({ type: "stop", reason: "Ctrl-C" })), undefined);
  t.same(endIn(driven.close(0, { isDead: true })), undefined);
  t.match(endIn(driven.close(1, { isDead: true })), { exitCode: 130, code: "STOPPED" });
});

t.test("whoever joins while a stop is planned is told of it: it needs all seats", async (t) => {
  const driven = stepping();
  driven.input({ type: "stop", reason: "Ctrl-C" });
  const effects = join(driven, 2);
  t.match(toldTo(2, effects).slice(-2), [
    { type: "CoordinatorRegroup", generation: 2 },
    { type: "CoordinatorPlan", planId: 1, change: "stop" },
  ]);
});

t.test("a stop during a regrouping reaches those who join by it", async (t) => {
  const driven = stepping();
  join(driven, 2);
  const effects = driven.input({ type: "stop", reason: "Ctrl-C" });
  for (const index of [0, 1, 2]) t.match(toldTo(index, effects), [{ type: "CoordinatorPlan", change: "stop" }]);
});

t.test("a checkpoint is planned by minutes; a stop waits until that plan took effect", async (t) => {
  const everyMinutes = { ...config, checkpoint: { everySteps: null, everyMinutes: 1, keep: 3 } };
  const driven = stepping({ configFor: () => everyMinutes });
  const ask = driven.input({ type: "tick" }, 60_000);
  for (const index of [0, 1])
    t.same(toldTo(index, ask), [{ type: "CoordinatorPlan", planId: 1, change: "checkpoint" }]);
  t.same(toldTo(0, driven.input({ type: "stop", reason: "Ctrl-C" }, 60_001)), []);
  t.same(toldTo(0, allSay(driven, held(1))), [], "a step that not all seats gave it to");
  t.same(toldTo(0, allSay(driven, heldWithPlan(2))), [{ type: "CoordinatorPlan", planId: 2, change: "stop" }]);
  t.same(toldTo(0, allSay(driven, heldWithPlan(3))), [], "nothing is planned after a stop");
});

t.test("the plan that took effect is pending again where the world loads an older state", async (t) => {
  const everyMinutes = { ...config, checkpoint: { everySteps: null, everyMinutes: 1, keep: 3 } };
  const driven = stepping({ configFor: () => everyMinutes });
  driven.input({ type: "tick" }, 60_000);
  allSay(driven, heldWithPlan(1));
  join(driven, 2);
  for (const index of [0, 1]) driven.close(index, { isDead: true });
  regroupAll(driven, [2], -1);
  t.same(toldTo(2, driven.input({ type: "stop", reason: "Ctrl-C" }, 60_001)), [], "it waits for the one before");
});

t.test("plans of a restarted coordinator have higher numbers than any before", async (t) => {
  const driven = gathering({ ...recoveredWith(proceedingOf([0])), usedPlans: 131_072 });
  driven.input({ type: "stop", reason: "Ctrl-C" });
  t.match(toldTo(0, greet(driven, 0, "stepping", { generation: 1, step: 2 }))[1], {
    type: "CoordinatorPlan",
    planId: 131_073,
  });
});

t.test("a failure that would be that of every rank ends the run, and so does any before it has begun", async (t) => {
  for (const [start, concerns] of [
    [preparing, "run"],
    [preparing, "worker"],
    [stepping, "run"],
  ] as const) {
    const message = { type: "WorkerFailed", concerns, code: "LOSS_NOT_FINITE", message: "step 3: NaN" } as const;
    const name = start === stepping ? "rank 1 (pid 1001 on h1)" : "the worker on h1 (pid 1001)";
    t.match(endIn(start().say(1, message)), {
      exitCode: 1,
      code: "LOSS_NOT_FINITE",
      message: `${name}: step 3: NaN`,
    });
  }
});

t.test("a connection that never became a worker comes and goes", async (t) => {
  for (const { core, input } of [gathering(), preparing(), stepping()]) {
    const { phase } = core;
    t.same(input({ type: "closed", connection: 99, reason: "", isDead: false }), []);
    const effects = input({ type: "malformed", connection: 99, code: "MESSAGE_UNKNOWN", message: "expected a type" });
    t.same(closedIn(effects), [99]);
    t.match(eventsIn(effects), [{ type: "refused", peer: "connection 99", code: "MESSAGE_UNKNOWN" }]);
    t.same([endIn(effects), toldTo(0, effects)], [undefined, []]);
    t.equal(core.phase, phase);
  }
});

t.test("a run whose checkpoint cannot be read, or that another coordinator has taken over, ends", async (t) => {
  const failed = { type: "failed", code: "CHECKPOINT_CORRUPT", message: "step 7 is torn" } as const;
  t.match(endIn(stepping().input(failed)), { exitCode: 1, code: "CHECKPOINT_CORRUPT", message: "step 7 is torn" });
  const replaced = stepping().input({ type: "replaced", message: "epoch 3 leads" });
  t.match(endIn(replaced), { exitCode: 1, code: "REPLACED" });
});

t.test("after its end a run answers nothing", async (t) => {
  const { core, input, say, close } = stepping();
  input({ type: "replaced", message: "" });
  t.equal(core.phase, "ended");
  t.same(
    [...say(1, held(1)), ...say(5, helloOf(5)), ...say(1, readyWith()), ...close(0), ...input({ type: "tick" }, 1e6)],
    [],
  );
});
