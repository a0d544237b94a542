import t from "tap";
import { CoordinatorError } from "../src/coordinator-error.ts";
import {
  closedIn,
  connectionOf,
  endIn,
  eventsIn,
  gathering,
  preparing,
  resumeAt,
  stepping,
  toldTo,
} from "./fixtures/core.ts";
import {
  config,
  done,
  evaluated,
  fingerprint,
  hash,
  held,
  helloOf,
  progressAt,
  readyWith,
  stateOf,
} from "./fixtures/messages.ts";

const refused = [
  {
    name: "whose config differs",
    hello: helloOf(0, { configHash: hash("a") }),
    code: "CONFIG_DIFFERS",
    message: /aaaaaaaaaaaa.*cccccccccccc/,
  },
  {
    name: "whose dataset differs",
    hello: helloOf(0, { datasetHash: hash("b") }),
    code: "DATASET_DIFFERS",
    message: /bbbbbbbbbbbb.*dddddddddddd/,
  },
  {
    name: "whom no neighbour could dial",
    hello: helloOf(0, { ring: { host: "localhost", port: 0 } }),
    code: "NO_RING",
    message: /must listen/,
  },
];
for (const { name, hello, code, message } of refused)
  t.test(`a worker ${name} is refused alone; the run goes on gathering`, async (t) => {
    const { core, say } = gathering();
    say(1, helloOf(1));
    const effects = say(0, hello);
    t.match(toldTo(0, effects), [{ type: "CoordinatorAbort", code, message }]);
    t.same(closedIn(effects), [connectionOf(0)]);
    t.match(eventsIn(effects), [{ type: "refused", peer: "h0 (pid 1000)", code, message }]);
    t.same(toldTo(1, effects), []);
    t.equal(core.phase, "gathering");
    say(2, helloOf(2));
    t.equal(core.phase, "preparing");
  });

t.test("a world of one needs no ring", async (t) => {
  const { core, say } = gathering({ ranks: 1 });
  say(0, helloOf(0, { ring: { host: "localhost", port: 0 } }));
  t.equal(core.phase, "preparing");
});

t.test("who comes when all ranks are taken is turned away, and nobody else hears of it", async (t) => {
  for (const { core, say } of [preparing(), stepping()]) {
    const { phase } = core;
    const effects = say(2, helloOf(2));
    t.match(toldTo(2, effects), [{ type: "CoordinatorAbort", code: "RUN_FULL", message: /2 ranks/ }]);
    t.same(closedIn(effects), [connectionOf(2)]);
    t.same([...toldTo(0, effects), ...toldTo(1, effects)], []);
    t.equal(core.phase, phase);
  }
});

const rude = [
  { name: "says hello twice", messages: [helloOf(0), helloOf(0)], message: /second WorkerHello/ },
  { name: "speaks before its hello", messages: [held(1)], message: /WorkerHeld before its WorkerHello/ },
  {
    name: "is ready before it was seated",
    messages: [helloOf(0), readyWith()],
    message: /WorkerReady while gathering/,
  },
  { name: "steps before it was seated", messages: [helloOf(0), held(1)], message: /WorkerHeld while gathering/ },
  { name: "is done before it was seated", messages: [helloOf(0), done(10)], message: /WorkerDone while gathering/ },
];
for (const { name, messages, message } of rude)
  t.test(`while gathering, a worker that ${name} is sent away, and another takes its place`, async (t) => {
    const { core, say } = gathering({ resume: resumeAt(10) });
    const effects = messages.flatMap((each) => say(0, each));
    t.match(toldTo(0, effects).at(-1), { type: "CoordinatorAbort", code: "UNEXPECTED_MESSAGE", message });
    t.same(closedIn(effects), [connectionOf(0)]);
    t.same(endIn(effects), undefined);
    t.equal(core.phase, "gathering");
    say(1, helloOf(1));
    t.equal(core.phase, "gathering", "its place is free");
    t.match(toldTo(2, say(2, helloOf(2))), [{ type: "CoordinatorStart", rank: 1 }]);
  });

const heartbeat = { type: "WorkerHeartbeat" as const, sentAtMs: 0 };
t.test("a heartbeat before the hello is nothing", async (t) => t.same(gathering().say(0, heartbeat), []));

const stateHash = { type: "WorkerStateHash" as const, generation: 1, step: 10, hash: hash("e") };
const outOfPlace = [
  { phase: "preparing", start: preparing, message: held(1) },
  { phase: "preparing", start: preparing, message: evaluated(5) },
  { phase: "preparing", start: preparing, message: stateHash },
  { phase: "preparing", start: preparing, message: stateOf(10, 140) },
  { phase: "preparing", start: preparing, message: done(10) },
  { phase: "stepping", start: stepping, message: readyWith() },
];
for (const { phase, start, message } of outOfPlace)
  t.test(`a ${message.type} while ${phase} ends the run, naming who sent it`, async (t) => {
    const { say } = start();
    const effects = say(1, message);
    t.match(endIn(effects), {
      exitCode: 1,
      code: "UNEXPECTED_MESSAGE",
      message: `rank 1 (pid 1001 on h1) sent a ${message.type} while ${phase}`,
    });
    t.same(closedIn(effects), [connectionOf(1)]);
    t.match(toldTo(0, effects), [{ type: "CoordinatorAbort", code: "UNEXPECTED_MESSAGE" }]);
  });

t.test("what was said in another generation is not heard", async (t) => {
  const { core, say } = stepping();
  for (const generation of [0, 2])
    for (const message of [held(1, { generation }), { ...done(10), generation }, readyWith({ generation })])
      t.same(say(0, message), []);
  t.equal(core.phase, "stepping");
});

t.test("a worker that leaves while gathering leaves no gap: those behind it move up", async (t) => {
  const { input, say } = gathering({ ranks: 3 });
  for (const index of [0, 1]) say(index, helloOf(index));
  const left = input({ type: "closed", connection: connectionOf(0), reason: "" });
  t.match(eventsIn(left), [{ type: "left", peer: "h0 (pid 1000)", message: "its connection is lost" }]);
  t.match(eventsIn(say(2, helloOf(2))), [{ type: "joined", joined: 2, ranks: 3 }]);
  const effects = say(3, helloOf(3));
  for (const [rank, index] of [1, 2, 3].entries())
    t.match(toldTo(index, effects), [
      {
        type: "CoordinatorStart",
        rank,
        peers: [1, 2, 3].map((each, place) => ({ rank: place, port: 5000 + each, workerId: helloOf(each).workerId })),
      },
    ]);
});

t.test("a malformed message while gathering leaves no gap either", async (t) => {
  const { input, say } = gathering({ ranks: 3 });
  for (const index of [0, 1]) say(index, helloOf(index));
  input({ type: "malformed", connection: connectionOf(0), code: "MESSAGE_CUT_SHORT", message: "cut short" });
  say(2, helloOf(2));
  const effects = say(3, helloOf(3));
  t.match(
    [1, 2, 3].flatMap((index) => toldTo(index, effects)),
    [{ rank: 0 }, { rank: 1 }, { rank: 2 }],
  );
});

for (const [what, words, why] of [
  ["says why", [{ type: "WorkerBye", reason: "asked to end" }], "asked to end"],
  ["fails", [{ type: "WorkerFailed", generation: 0, code: "BAD_CONFIG", message: "no such file" }], "no such file"],
  ["goes without a word", [], "hung up"],
] as const)
  t.test(`a worker that ${what} and leaves while gathering ends nothing`, async (t) => {
    const { core, input, say } = gathering();
    say(0, helloOf(0));
    for (const message of words) t.same(say(0, message), []);
    t.match(eventsIn(input({ type: "closed", connection: connectionOf(0), reason: "hung up" })), [
      { type: "left", message: why },
    ]);
    t.equal(core.phase, "gathering");
  });

t.test(
  "the world is seated when the last worker is there: each its start, seats by threads, the config by all threads",
  async (t) => {
    const asked: number[] = [];
    const { core, say } = gathering({
      configFor: (threads) => {
        asked.push(threads);
        return config;
      },
    });
    t.match(eventsIn(say(0, helloOf(0, { threads: 3 }))), [{ type: "joined", joined: 1, ranks: 2 }]);
    const effects = say(1, helloOf(1));
    t.same(asked, [4]);
    t.equal(core.phase, "preparing");
    for (const rank of [0, 1])
      t.match(toldTo(rank, effects), [
        { type: "CoordinatorStart", generation: 1, rank, seating: [0, 0, 0, 1], config, source: { kind: "seed" } },
      ]);
    t.match(eventsIn(effects), [
      { type: "joined", joined: 2 },
      { type: "seated", seating: [0, 0, 0, 1], config, members: [{ pid: 1000 }, { pid: 1001 }] },
    ]);
  },
);

t.test("a resumed run sends everybody the state, after its start", async (t) => {
  const { say } = gathering({ resume: resumeAt(10) });
  say(0, helloOf(0));
  const effects = say(1, helloOf(1)).filter(({ type }) => type !== "event");
  const source = { kind: "state", step: 10, totalBytes: 140, progress: progressAt(10) };
  t.match(effects, [
    { type: "send", connection: connectionOf(0), message: { type: "CoordinatorStart", source } },
    { type: "sendState", connection: connectionOf(0), generation: 1 },
    { type: "send", connection: connectionOf(1), message: { type: "CoordinatorStart", source } },
    { type: "sendState", connection: connectionOf(1), generation: 1 },
  ]);
});

const unseatable = [
  {
    name: "more ranks than seats",
    options: { ranks: 3, configFor: () => ({ ...config, seats: 2 }) },
    code: "MORE_RANKS_THAN_SEATS",
    message: /3 ranks cannot sit on 2 seats/,
    exitCode: 2,
  },
  {
    name: "a config that its author refuses",
    options: {
      configFor: () => {
        throw new CoordinatorError("SEATS_CHANGED", "seats are fixed");
      },
    },
    code: "SEATS_CHANGED",
    message: /seats are fixed/,
    exitCode: 2,
  },
  {
    name: "a config that is invalid",
    options: {
      configFor: () => {
        throw new TypeError("seats: expected at most 64");
      },
    },
    code: "CONFIG_INVALID",
    message: /seats: expected at most 64/,
    exitCode: 2,
  },
];
for (const { name, options, code, message, exitCode } of unseatable)
  t.test(`${name} ends the run before it starts, for everybody`, async (t) => {
    const { say } = gathering(options);
    const effects = [0, 1, 2].flatMap((index) => say(index, helloOf(index)));
    t.match(endIn(effects), { exitCode, code, message });
    for (const index of [0, 1]) t.match(toldTo(index, effects), [{ type: "CoordinatorAbort", code, message }]);
  });

t.test('numerics "strict" refuses a world of different fingerprints, "any" does not', async (t) => {
  const other = helloOf(1, { fingerprint: { ...fingerprint, cpu: "another cpu" } });
  for (const numerics of ["strict", "any"] as const) {
    const { core, say } = gathering({ configFor: () => ({ ...config, numerics }) });
    say(0, helloOf(0));
    const effects = say(1, other);
    if (numerics === "any") t.equal(core.phase, "preparing");
    else t.match(endIn(effects), { exitCode: 1, code: "NUMERICS_DIFFER", message: /a cpu.*another cpu/ });
  }
});

t.test("no step begins before all are ready", async (t) => {
  const { core, say } = preparing({ ranks: 3 });
  t.same([...say(2, readyWith()), ...say(0, readyWith())], []);
  t.equal(core.phase, "preparing");
  const effects = say(1, readyWith());
  t.equal(core.phase, "stepping");
  for (const index of [0, 1, 2])
    t.same(toldTo(index, effects), [{ type: "CoordinatorBegin", generation: 1, firstStep: 0 }]);
  t.same(eventsIn(effects), [
    { type: "began", firstStep: 0, stepsPerEpoch: 5, totalSteps: 10, numericsNote: null, eagerBecause: null },
  ]);
});

t.test("a resumed run begins with the step of its checkpoint", async (t) => {
  const { say } = preparing({ ranks: 1, resume: resumeAt(7) });
  t.same(toldTo(0, say(0, readyWith())), [{ type: "CoordinatorBegin", generation: 1, firstStep: 7 }]);
});

t.test("a checkpoint of other tensors than the model's is refused", async (t) => {
  const { say } = preparing({ ranks: 1, resume: resumeAt(7) });
  const other = readyWith({ tensors: { model: [{ name: "dense/kernel", shape: [5, 3] }], optimizer: [] } });
  t.match(endIn(say(0, other)), { exitCode: 1, code: "CHECKPOINT_MISMATCH", message: /restore the config/ });
});

const differing = [
  { field: "stateHash", what: "different initial states" },
  { field: "layoutHash", what: "models of different shapes" },
] as const;
for (const { field, what } of differing)
  t.test(`ranks that start from ${what} do not start, and are named`, async (t) => {
    const { say } = preparing({ ranks: 3 });
    say(1, readyWith({ [field]: hash("9") }));
    say(2, readyWith());
    const effects = say(0, readyWith());
    t.match(endIn(effects), { exitCode: 1, code: "STATES_DIFFER" });
    t.match(endIn(effects)?.message, `rank 0 and rank 1 start from ${what}`);
    t.match(endIn(effects)?.message, /9{12}/);
    for (const index of [0, 1, 2])
      t.match(toldTo(index, effects), [{ type: "CoordinatorAbort", code: "STATES_DIFFER" }]);
  });

t.test('ranks that compute different bits are said so once, and refused where numerics is "strict"', async (t) => {
  for (const numerics of ["strict", "any"] as const) {
    const { say } = preparing({ configFor: () => ({ ...config, numerics }) });
    say(0, readyWith());
    const effects = say(1, readyWith({ probeHash: hash("8") }));
    if (numerics === "any") t.match(eventsIn(effects), [{ type: "began", numericsNote: /different bits/ }]);
    else t.match(endIn(effects), { exitCode: 1, code: "NUMERICS_DIFFER" });
  }
});
