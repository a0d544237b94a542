/** Who trains: what is recorded, who is told, and who copies what. Workers answer as theirs do; records are flushed at once. */
import { seedStateId, type WorkerStanding } from "@ringmaster/protocol";
import t from "tap";
import {
  type LoadSource,
  type MembershipEffect,
  type MembershipInput,
  type MembershipRecord,
  newWorld,
  nextWorld,
  theSeed,
  type World,
} from "../src/membership.ts";
import { standingAt } from "./fixtures/messages.ts";

/** A state's id, for one history. */
const idAt = (step: number): string => (step < 0 ? seedStateId : String(step).padStart(16, "0"));

interface Script {
  world: World;
  readonly firstRanks: number;
  readonly seats: number;
  /** Seats that fit each worker. */
  readonly capacity: number;
  give(input: MembershipInput): readonly MembershipEffect[];
}

function script({
  firstRanks = 2,
  seats = 4,
  capacity = 4,
  record = null,
  source = theSeed,
}: Partial<Pick<Script, "firstRanks" | "seats" | "capacity">> & {
  record?: MembershipRecord | null;
  source?: LoadSource;
} = {}): Script {
  const seat = (workers: readonly string[]) =>
    workers.length * capacity < seats ? null : Array.from({ length: seats }, (_, k) => k % workers.length).sort();
  const self: Script = {
    ...{ firstRanks, seats, capacity },
    world: newWorld({ record, usedGeneration: record?.generation ?? 0, source }),
    give(input) {
      const { world, effects } = nextWorld(self.world, input, { firstRanks, seats, order: (workers) => workers, seat });
      self.world = world;
      const isRecorded = effects.some(({ type }) => type === "record");
      return isRecorded ? [...effects, ...self.give({ type: "flushed" })] : effects;
    },
  };
  return self;
}

const said = (worker: string, standing: WorkerStanding, isHello = false): MembershipInput => ({
  type: "said",
  worker,
  standing,
  isHello,
});
const spare = (worker: string): MembershipInput => said(worker, standingAt("spare"), true);
const lost = (worker: string, isCertain = true): MembershipInput => ({
  type: "lost",
  worker,
  because: `${worker} is lost`,
  isCertain,
});

/** A member answers in the open generation. */
const holds = ({ world, give }: Script, worker: string, step: number, stateId = idAt(step)) =>
  give(said(worker, standingAt("regrouping", { generation: world.record?.generation ?? 0, step, stateId }), false));

/** A member returns to a coordinator that may know nothing of it. */
const returns = (
  { give }: Script,
  worker: string,
  changes: Partial<WorkerStanding>,
  phase: "stepping" | "regrouping" | "done" = "stepping",
) => give(said(worker, standingAt(phase, { stateId: idAt(changes.step ?? 0), ...changes }), true));

/** Workers a, b, ... step in generation 1 from step 0. */
function stepping(workers: string, options: Parameters<typeof script>[0] = {}): Script {
  const run = script({ firstRanks: workers.length, ...options });
  for (const worker of workers) run.give(spare(worker));
  for (const worker of workers) holds(run, worker, -1);
  for (const worker of workers) holds(run, worker, run.world.source.step, run.world.source.stateId);
  return run;
}

const recordsIn = (effects: readonly MembershipEffect[]) =>
  effects.flatMap((effect) => (effect.type === "record" ? [effect.record] : []));
const toldIn = (effects: readonly MembershipEffect[]) =>
  effects.flatMap((effect) => (effect.type === "tell" ? [`${effect.worker}: ${effect.record.kind}`] : []));
const proceeding = (members: string, generation: number, step: number): MembershipRecord => ({
  kind: "proceeding",
  generation,
  members: [...members],
  seating: Array.from({ length: 4 }, (_, k) => k % members.length).sort(),
  step,
  stateId: idAt(step),
});

t.test("a run begins once as many workers are here as it begins with: they load the seed's state", async (t) => {
  const run = script();
  t.same(run.give(spare("a")), []);
  const opened = run.give(spare("b"));
  t.match(recordsIn(opened), [{ kind: "opened", generation: 1, members: ["a", "b"] }]);
  t.same(toldIn(opened), ["a: opened", "b: opened"]);
  t.same(holds(run, "b", -1), []);
  t.match(holds(run, "a", -1), [
    { type: "load", worker: "a", source: theSeed },
    { type: "load", worker: "b", source: theSeed },
  ]);
  t.same(holds(run, "a", 0), []);
  const effects = holds(run, "b", 0);
  t.match(recordsIn(effects), [{ kind: "proceeding", generation: 1, members: ["a", "b"], step: 0, stateId: idAt(0) }]);
  t.same(toldIn(effects), ["a: proceeding", "b: proceeding"]);
});

t.test("a worker dies: the others regroup at once, and who is behind copies from one that is not", async (t) => {
  const run = stepping("abc");
  t.match(recordsIn(run.give(lost("c"))), [{ kind: "opened", generation: 2, members: ["a", "b"] }]);
  t.same(holds(run, "a", 7), []);
  t.same(holds(run, "b", 6), [{ type: "fetch", worker: "b", generation: 2, from: ["a"], step: 7, stateId: idAt(7) }]);
  t.match(recordsIn(holds(run, "b", 7)), [{ kind: "proceeding", generation: 2, members: ["a", "b"], step: 7 }]);
});

t.test("the one that holds the newest step dies before it was copied: the next generation decides anew", async (t) => {
  const run = stepping("abc");
  run.give(lost("c"));
  holds(run, "a", 7);
  holds(run, "b", 6);
  t.match(recordsIn(run.give(lost("a"))), [{ kind: "opened", generation: 3, members: ["b"] }]);
  t.match(recordsIn(holds(run, "b", 6)), [{ kind: "proceeding", generation: 3, members: ["b"], step: 6 }]);
});

t.test("two die in one record's writing: one more generation answers for both", async (t) => {
  const run = stepping("abcd");
  const { seats } = run;
  const rules = { firstRanks: 4, seats, order: (workers: readonly string[]) => workers, seat: () => [0, 0, 1, 1] };
  const { world } = nextWorld(run.world, lost("d"), rules);
  const during = nextWorld(world, lost("c"), rules);
  t.same(during.effects, [], "nothing is decided while a record is being written");
  run.world = during.world;
  t.match(recordsIn(run.give({ type: "flushed" })), [{ kind: "opened", generation: 3, members: ["a", "b"] }]);
});

t.test("a worker joins: it is taken in without a state, and copies it", async (t) => {
  const run = stepping("ab");
  t.match(recordsIn(run.give(spare("c"))), [{ kind: "opened", generation: 2, members: ["a", "b", "c"] }]);
  holds(run, "a", 5);
  holds(run, "b", 5);
  t.match(holds(run, "c", -1), [{ type: "fetch", worker: "c", from: ["a", "b"], step: 5 }]);
  t.match(recordsIn(holds(run, "c", 5)), [{ kind: "proceeding", members: ["a", "b", "c"], step: 5 }]);
});

t.test("who comes when all seats are taken waits, and takes the place of the next that is lost", async (t) => {
  const run = stepping("ab", { seats: 2 });
  t.same(run.give(spare("c")), []);
  t.match(recordsIn(run.give(lost("a"))), [{ kind: "opened", members: ["b", "c"] }]);
});

t.test("a worker leaves: it helps until a generation proceeds without it, and is told of that", async (t) => {
  const run = stepping("ab");
  t.match(recordsIn(run.give({ type: "leaving", worker: "a" })), [{ kind: "opened", members: ["a", "b"] }]);
  holds(run, "a", 5);
  holds(run, "b", 4);
  const effects = holds(run, "b", 5);
  t.match(recordsIn(effects), [{ kind: "proceeding", members: ["b"], step: 5 }]);
  t.same(toldIn(effects), ["a: proceeding", "b: proceeding"]);
});

t.test("where all leave they go on until somebody else comes", async (t) => {
  const run = stepping("ab");
  run.give({ type: "leaving", worker: "a" });
  run.give({ type: "leaving", worker: "b" });
  holds(run, "a", 5);
  t.match(recordsIn(holds(run, "b", 5)), [{ kind: "proceeding", members: ["a", "b"], step: 5 }]);
  t.match(recordsIn(run.give(spare("c"))), [{ kind: "opened", members: ["a", "b", "c"] }]);
  for (const worker of ["a", "b", "c"]) holds(run, worker, worker === "c" ? -1 : 6);
  t.match(recordsIn(holds(run, "c", 6)), [{ kind: "proceeding", members: ["c"], step: 6 }]);
});

for (const because of ["a link has failed", "other seats are faster"])
  t.test(`the same members regroup because ${because}`, async (t) => {
    const run = stepping("ab");
    const effects = run.give({ type: "reopen", because });
    t.match(effects[0], { type: "record", because, record: { kind: "opened", generation: 2, members: ["a", "b"] } });
  });

t.test("a copy that failed is tried again in another generation", async (t) => {
  const run = stepping("ab");
  run.give(spare("c"));
  for (const worker of ["a", "b", "c"]) holds(run, worker, worker === "c" ? -1 : 5);
  t.match(recordsIn(run.give({ type: "reopen", because: "the copy failed" })), [{ kind: "opened", generation: 3 }]);
});

t.test("a member that was away and returns is told what it does not know, and nothing that it knows", async (t) => {
  const run = stepping("ab");
  t.same(run.give({ type: "away", worker: "b" }), []);
  t.same(returns(run, "b", { generation: 1, step: 3 }), [], "it steps in the newest generation");
  run.give({ type: "away", worker: "b" });
  run.give({ type: "reopen", because: "a link has failed" });
  t.same(toldIn(returns(run, "b", { generation: 1, step: 3 })), ["b: opened"]);
  run.give({ type: "away", worker: "b" });
  t.same(toldIn(returns(run, "b", { generation: 2, step: 3 }, "regrouping")), [], "it regroups already");
});

t.test("a member that returns where nobody is left is a member still", async (t) => {
  const run = stepping("ab");
  run.give(lost("a", false));
  t.match(run.world.record, { kind: "opened", members: ["b"] });
  t.same(run.give(lost("b", false)), [], "it may be alive: nothing is opened without it");
  t.match(recordsIn(returns(run, "b", { generation: 1, step: 4 })), [
    { kind: "opened", generation: 3, members: ["b"] },
  ]);
});

t.test("whoever holds a state of a generation that went on without it is told so", async (t) => {
  const run = stepping("ab");
  run.give(lost("b", false));
  t.same(toldIn(returns(run, "b", { generation: 1, step: 4 })), ["b: opened"]);
});

const nothingHappened = { generation: 4, step: 9 };
const restarts: readonly {
  name: string;
  record: MembershipRecord;
  script: (run: Script) => readonly MembershipEffect[];
  records: readonly object[];
}[] = [
  {
    name: "all step in the newest generation: nothing has happened",
    record: proceeding("ab", 4, 5),
    script: (run) => [...returns(run, "a", nothingHappened), ...returns(run, "b", { ...nothingHappened, step: 8 })],
    records: [],
  },
  {
    name: "all are done",
    record: proceeding("ab", 4, 5),
    script: (run) => [...returns(run, "a", nothingHappened, "done"), ...returns(run, "b", nothingHappened, "done")],
    records: [],
  },
  {
    name: "a link has failed meanwhile",
    record: proceeding("ab", 4, 5),
    script: (run) => [
      ...returns(run, "a", nothingHappened),
      ...returns(run, "b", { ...nothingHappened, linksUp: false }),
    ],
    records: [{ kind: "opened", generation: 5, members: ["a", "b"] }],
  },
  {
    name: "one has not heard of the newest record",
    record: proceeding("ab", 4, 5),
    script: (run) => [
      ...returns(run, "a", nothingHappened),
      ...returns(run, "b", { generation: 4, step: 5 }, "regrouping"),
    ],
    records: [{ kind: "opened", generation: 5, members: ["a", "b"] }],
  },
  {
    name: "a generation was open",
    record: { kind: "opened", generation: 4, members: ["a", "b"] },
    script: (run) => [
      ...returns(run, "a", { generation: 4, step: 5 }, "regrouping"),
      ...returns(run, "b", { generation: 3, step: 4 }),
    ],
    records: [{ kind: "opened", generation: 5, members: ["a", "b"] }],
  },
  {
    name: "one has died meanwhile",
    record: proceeding("ab", 4, 5),
    script: (run) => [...returns(run, "a", nothingHappened), ...run.give(lost("b", false))],
    records: [{ kind: "opened", generation: 5, members: ["a"] }],
  },
  {
    name: "a worker states a generation that no record has: the next is higher",
    record: proceeding("ab", 4, 5),
    script: (run) => [...returns(run, "a", nothingHappened), ...returns(run, "b", { generation: 8, step: 9 })],
    records: [{ kind: "opened", generation: 9, members: ["a", "b"] }],
  },
  {
    name: "only spares come: they may not go on without those that hold the state",
    record: proceeding("ab", 4, 5),
    script: (run) => [...run.give(spare("c")), ...run.give(lost("a", false)), ...run.give(lost("b", false))],
    records: [],
  },
  {
    name: "only spares come, and it was waited long enough",
    record: proceeding("ab", 4, 5),
    script: (run) => [...run.give(spare("c")), ...run.give({ type: "waited" })],
    records: [{ kind: "opened", generation: 5, members: ["c"] }],
  },
  {
    name: "only spares come, and all members are known to be dead",
    record: proceeding("ab", 4, 5),
    script: (run) => [...run.give(spare("c")), ...run.give(lost("a")), ...run.give(lost("b"))],
    records: [{ kind: "opened", generation: 5, members: ["c"] }],
  },
];
for (const { name, record, script: play, records } of restarts)
  t.test(`a restarted coordinator: ${name}`, async (t) => {
    const run = script({ record });
    const found = recordsIn(play(run));
    t.equal(found.length, records.length);
    t.match(found, records);
  });

t.test(
  "a world of which nobody is left goes on from the checkpoint; what a joiner has counts for nothing",
  async (t) => {
    const source: LoadSource = { kind: "checkpoint", step: 6, stateId: idAt(6) };
    const run = stepping("ab");
    t.same(run.give({ type: "checkpoint", step: 6, stateId: idAt(6) }), []);
    for (const worker of ["a", "b"]) run.give(lost(worker));
    t.match(recordsIn(run.give(spare("c"))), [{ kind: "opened", members: ["c"] }]);
    t.match(holds(run, "c", -1), [{ type: "load", worker: "c", source }]);
    t.match(recordsIn(holds(run, "c", 6)), [{ kind: "proceeding", members: ["c"], step: 6 }]);
  },
);

t.test("nobody goes on from a state that is older than the newest checkpoint", async (t) => {
  const run = stepping("ab");
  run.give({ type: "checkpoint", step: 6, stateId: idAt(6) });
  run.give(lost("a"));
  t.match(holds(run, "b", 4), [{ type: "load", worker: "b", source: { step: 6 } }]);
});

t.test("members that hold one step in two states are said so, and go back to the source", async (t) => {
  const run = stepping("ab");
  run.give({ type: "reopen", because: "a link has failed" });
  holds(run, "a", 5);
  t.match(holds(run, "b", 5, "f".repeat(16)), [
    { type: "diverged", step: 5, workers: ["a", "b"] },
    { type: "load", worker: "a", source: theSeed },
    { type: "load", worker: "b", source: theSeed },
  ]);
  holds(run, "a", 0);
  t.match(recordsIn(holds(run, "b", 0)), [{ kind: "proceeding", step: 0 }]);
});

t.test("members whose state is not to be trusted load the source, whatever they hold", async (t) => {
  const run = stepping("ab");
  run.give({ type: "checkpoint", step: 4, stateId: idAt(4) });
  t.match(run.give({ type: "restore", because: "states differ" })[0], { type: "record", because: "states differ" });
  holds(run, "a", 9);
  t.match(holds(run, "b", 9), [
    { type: "load", worker: "a", source: { step: 4 } },
    { type: "load", worker: "b", source: { step: 4 } },
  ]);
  holds(run, "a", 4);
  t.match(recordsIn(holds(run, "b", 4)), [{ kind: "proceeding", step: 4 }]);
  run.give({ type: "reopen", because: "a link has failed" });
  holds(run, "a", 6);
  t.match(recordsIn(holds(run, "b", 6)), [{ kind: "proceeding", step: 6 }], "what comes after is trusted again");
});

const gone: MembershipInput = {
  type: "sourceLost",
  source: { kind: "checkpoint", step: 2, stateId: idAt(2) },
  because: "it is damaged",
};

/** Both have come without a state, and are asked to load step 4. */
function loadingFour(): Script {
  const run = stepping("ab");
  run.give({ type: "checkpoint", step: 4, stateId: idAt(4) });
  run.give({ type: "reopen", because: "a link has failed" });
  for (const worker of "ab") holds(run, worker, -1);
  return run;
}

t.test("a checkpoint that cannot be loaded: members answer anew, and load the one before it", async (t) => {
  const run = loadingFour();
  const opened = run.give(gone);
  t.match(opened[0], { type: "record", record: { kind: "opened", generation: 3 }, because: "it is damaged" });
  holds(run, "a", -1);
  t.match(holds(run, "b", -1), [
    { type: "load", worker: "a", generation: 3, source: { step: 2 } },
    { type: "load", worker: "b", generation: 3, source: { step: 2 } },
  ]);
  holds(run, "a", 2);
  t.match(recordsIn(holds(run, "b", 2)), [{ kind: "proceeding", step: 2 }]);
});

t.test("a member that has loaded it before it was damaged keeps it, and gives it to the others", async (t) => {
  const run = loadingFour();
  holds(run, "a", 4);
  run.give(gone);
  // What it says before it has heard of the next generation is no answer.
  const late = standingAt("regrouping", { generation: 2, step: 4, stateId: idAt(4) });
  t.same(run.give(said("b", late)), []);
  holds(run, "a", 4);
  t.match(holds(run, "b", -1), [{ type: "fetch", worker: "b", from: ["a"], step: 4 }]);
  t.match(recordsIn(holds(run, "b", 4)), [{ kind: "proceeding", step: 4 }]);
});

t.test("members whose state is not to be trusted load the one before it, whatever they hold", async (t) => {
  const run = stepping("ab");
  run.give({ type: "checkpoint", step: 4, stateId: idAt(4) });
  run.give({ type: "restore", because: "states differ" });
  for (const worker of "ab") holds(run, worker, 9);
  holds(run, "a", 4);
  run.give(gone);
  holds(run, "a", 4);
  t.match(holds(run, "b", -1), [
    { type: "load", worker: "a", source: { step: 2 } },
    { type: "load", worker: "b", source: { step: 2 } },
  ]);
});

t.test("a checkpoint that is lost while its world is stepping costs no step", async (t) => {
  const run = stepping("ab");
  run.give({ type: "checkpoint", step: 4, stateId: idAt(4) });
  run.give({ ...gone, source: theSeed });
  holds(run, "a", 6);
  t.match(recordsIn(holds(run, "b", 6)), [{ kind: "proceeding", step: 6 }]);
});

t.test("where those that are left cannot hold all seats, the world waits for a worker", async (t) => {
  const run = stepping("ab", { capacity: 2 });
  run.give(lost("b"));
  t.same(holds(run, "a", 5), [], "two of four seats fit");
  t.match(recordsIn(run.give(spare("c"))), [{ kind: "opened", generation: 3, members: ["a", "c"] }]);
  holds(run, "a", 5);
  holds(run, "c", -1);
  t.match(recordsIn(holds(run, "c", 5)), [{ kind: "proceeding", members: ["a", "c"], step: 5 }]);
});

t.test("an answer to an older generation is none", async (t) => {
  const run = stepping("ab");
  run.give({ type: "reopen", because: "a link has failed" });
  run.give(spare("c"));
  holds(run, "a", 5);
  holds(run, "c", -1);
  const late = standingAt("regrouping", { generation: 1, step: 5, stateId: idAt(5) });
  t.same(run.give(said("b", late)), []);
});
