import t from "tap";
import { CoordinatorError } from "../src/coordinator-error.ts";
import {
  closedIn,
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
  regrouping,
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
  heartbeat,
  held,
  helloOf,
  idOf,
  readyWith,
  standingAt,
  stateHash,
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
  {
    name: "that states a generation after which there would soon be none",
    hello: helloOf(0, { standing: standingAt("stepping", { generation: 2 ** 32 - 2 }) }),
    code: "GENERATION_TOO_HIGH",
    message: /start this worker anew/,
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
    t.match(eventsIn(say(2, helloOf(2))), [{ type: "joined" }, { type: "settled" }]);
  });

t.test("a world of one needs no ring", async (t) => {
  const { say } = gathering({ ranks: 1 });
  const effects = say(0, helloOf(0, { ring: { host: "localhost", port: 0 } }));
  t.match(toldTo(0, effects), [{ type: "CoordinatorWelcome" }, { type: "CoordinatorStart" }]);
});

t.test("everybody is welcomed with the epoch first", async (t) => {
  t.same(toldTo(0, gathering({ epoch: 7 }).say(0, helloOf(0))), [{ type: "CoordinatorWelcome", epoch: 7 }]);
});

const rude = [
  { name: "says hello twice", messages: [helloOf(0), helloOf(0)], message: /second WorkerHello/ },
  { name: "speaks before its hello", messages: [held(1)], message: /WorkerHeld before its WorkerHello/ },
  { name: "is ready before it was started", messages: [helloOf(0), readyWith()], message: /WorkerReady before/ },
];
for (const { name, messages, message } of rude)
  t.test(`while gathering, a worker that ${name} is sent away, and another takes its place`, async (t) => {
    const { core, say } = gathering();
    const effects = messages.flatMap((each) => say(0, each));
    t.match(toldTo(0, effects).at(-1), { type: "CoordinatorAbort", code: "UNEXPECTED_MESSAGE", message });
    t.ok(closedIn(effects).includes(connectionOf(0)));
    t.same(endIn(effects), undefined);
    say(1, helloOf(1));
    t.equal(core.phase, "gathering", "its place is free");
    t.match(toldTo(2, say(2, helloOf(2))).at(-1), { type: "CoordinatorStart" });
  });

t.test("a heartbeat before the hello is nothing", async (t) => t.same(gathering().say(0, heartbeat()), []));

t.test("what belongs to training is passed over before there is any", async (t) => {
  for (const start of [gathering, preparing]) {
    const driven = start();
    if (start === gathering) driven.say(0, helloOf(0));
    for (const message of [held(1), evaluated(5), stateHash(10), done(10)]) t.same(driven.say(0, message), []);
    const announced = driven.say(0, stateOf(10));
    t.match(
      announced.filter(({ type }) => type !== "receiveState"),
      [],
      "and a state goes nowhere",
    );
    for (const effect of announced) t.match(effect, { facts: null });
  }
});

t.test("a second WorkerReady over one connection is sent away; another connection brings its own", async (t) => {
  const driven = stepping();
  t.match(toldTo(1, driven.say(1, readyWith())), [{ type: "CoordinatorAbort", code: "UNEXPECTED_MESSAGE" }]);
  const other = stepping();
  other.close(1, {}, 100);
  t.match(toldTo(1, greet(other, 1, "stepping", { generation: 1, step: 3 }, 200)), [
    { type: "CoordinatorWelcome" },
    { type: "CoordinatorKept" },
  ]);
});

for (const [what, words, why] of [
  ["says why", { type: "WorkerBye", reason: "asked to end" }, "it left: asked to end"],
  [
    "fails",
    { type: "WorkerFailed", concerns: "worker", code: "BAD_CONFIG", message: "no such file" },
    "it left: no such file",
  ],
  ["goes without a word", undefined, "its process is gone: hung up"],
] as const)
  t.test(`a worker that ${what} and leaves while gathering ends nothing, and leaves no gap`, async (t) => {
    const { core, say, close } = gathering();
    say(0, helloOf(0));
    if (words) t.same(say(0, words), []);
    t.match(eventsIn(close(0, { reason: "hung up" })), [{ type: "left", peer: "h0 (pid 1000)", message: why }]);
    t.equal(core.phase, "gathering");
    t.match(eventsIn(say(1, helloOf(1))), [{ type: "joined", ranks: 2 }]);
    t.equal(core.phase, "gathering");
  });

t.test("the config is settled by all threads once as many are here as the run begins with", async (t) => {
  const asked: number[] = [];
  const { say } = gathering({
    configFor: (threads) => {
      asked.push(threads);
      return config;
    },
  });
  t.match(eventsIn(say(0, helloOf(0, { threads: 3 }))), [{ type: "joined", joined: 1, ranks: 2 }]);
  const effects = say(1, helloOf(1));
  t.same(asked, [4]);
  for (const index of [0, 1]) t.match(toldTo(index, effects).at(-1), { type: "CoordinatorStart", config });
  t.match(eventsIn(effects), [
    { type: "joined", joined: 2 },
    { type: "settled", config, members: [{ pid: 1000 }, { pid: 1001 }] },
  ]);
});

t.test(
  "the run begins when the last worker is prepared: each first takes the seed's state, then all step",
  async (t) => {
    const driven = preparing({ ranks: 3 });
    t.same([...driven.say(2, readyWith()), ...driven.say(0, readyWith())], []);
    t.match(recordsIn(driven.say(1, readyWith())), [
      { kind: "opened", generation: 1, members: [idOf(0), idOf(1), idOf(2)] },
    ]);
  },
);

const unseatable = [
  {
    name: "more ranks than seats",
    options: { ranks: 3, configFor: () => ({ ...config, seats: 2 }) },
    code: "MORE_RANKS_THAN_SEATS",
    message: /3 ranks cannot sit on 2 seats/,
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
  },
];
for (const { name, options, code, message } of unseatable)
  t.test(`${name} ends the run before it starts, for everybody`, async (t) => {
    const { say } = gathering(options);
    const effects = [0, 1, 2].flatMap((index) => say(index, helloOf(index)));
    t.match(endIn(effects), { exitCode: 2, code, message });
    for (const index of [0, 1]) t.match(toldTo(index, effects).at(-1), { type: "CoordinatorAbort", code, message });
  });

t.test('numerics "strict" refuses a world of different fingerprints, "any" does not', async (t) => {
  const other = helloOf(1, { fingerprint: { ...fingerprint, cpu: "another cpu" } });
  for (const numerics of ["strict", "any"] as const) {
    const { say } = gathering({ configFor: () => ({ ...config, numerics }) });
    say(0, helloOf(0));
    const effects = say(1, other);
    if (numerics === "any") t.match(toldTo(1, effects).at(-1), { type: "CoordinatorStart" });
    else t.match(endIn(effects), { exitCode: 1, code: "NUMERICS_DIFFER", message: /a cpu.*another cpu/ });
  }
});

t.test("a checkpoint of other tensors than the model's is refused", async (t) => {
  const { say } = preparing({ ranks: 1, resume: resumeAt(7) });
  const other = readyWith({ tensors: { model: [{ name: "dense/kernel", shape: [5, 3] }], optimizer: [] } });
  t.match(endIn(say(0, other)), { exitCode: 1, code: "CHECKPOINT_MISMATCH", message: /restore the config/ });
});

const differing = [
  { field: "seedHash", what: "different initial states" },
  { field: "layoutHash", what: "models of different shapes" },
] as const;
for (const { field, what } of differing) {
  t.test(`workers that start from ${what} do not start, and are named`, async (t) => {
    const { say } = preparing({ ranks: 3 });
    say(2, readyWith());
    const effects = say(1, readyWith({ [field]: hash("9") }));
    t.match(endIn(effects), { exitCode: 1, code: "STATES_DIFFER" });
    t.match(endIn(effects)?.message, `h2 (pid 1002) and h1 (pid 1001) start from ${what}`);
    t.match(endIn(effects)?.message, /9{12}/);
    for (const index of [0, 1, 2])
      t.match(toldTo(index, effects), [{ type: "CoordinatorAbort", code: "STATES_DIFFER" }]);
  });

  t.test(`a worker that comes to a run under way with ${what} is turned away alone`, async (t) => {
    const driven = stepping();
    driven.say(2, helloOf(2));
    const effects = driven.say(2, readyWith({ [field]: hash("9") }));
    t.match(toldTo(2, effects), [{ type: "CoordinatorAbort", code: "STATES_DIFFER" }]);
    t.same([endIn(effects), toldTo(0, effects), recordsIn(effects)], [undefined, [], []]);
  });
}

/** Both are prepared and hold the seed's state. */
const begun = (driven: DrivenCore) =>
  [0, 1].flatMap((index) =>
    driven.say(index, { type: "WorkerRegrouped", generation: 1, step: 0, stateId: "0".repeat(16) }),
  );

t.test('workers that compute different bits are said so once, and refused where numerics is "strict"', async (t) => {
  for (const numerics of ["strict", "any"] as const) {
    const driven = preparing({ configFor: () => ({ ...config, numerics }) });
    driven.say(0, readyWith());
    const effects = driven.say(1, readyWith({ probeHash: hash("8") }));
    if (numerics === "strict") t.match(endIn(effects), { exitCode: 1, code: "NUMERICS_DIFFER" });
    else {
      t.match(eventsIn(begun(driven)), [{ type: "began", numericsNote: /different bits/ }, { type: "proceeding" }]);
      driven.say(2, helloOf(2));
      const late = driven.say(2, readyWith({ probeHash: hash("7") }));
      t.same(
        eventsIn(late).filter(({ type }) => type === "note"),
        [],
        "once is enough",
      );
    }
  }
});

t.test('who computes other bits and comes late is said so, or turned away where numerics is "strict"', async (t) => {
  for (const numerics of ["strict", "any"] as const) {
    const driven = regrouping({ configFor: () => ({ ...config, numerics }) });
    t.match(eventsIn(begun(driven)), [{ type: "began", numericsNote: null }, { type: "proceeding" }]);
    driven.say(2, helloOf(2));
    const effects = driven.say(2, readyWith({ probeHash: hash("8") }));
    if (numerics === "any") t.match(eventsIn(effects)[0], { type: "note", line: /different bits/ });
    else t.match(toldTo(2, effects), [{ type: "CoordinatorAbort", code: "NUMERICS_DIFFER" }]);
  }
});

t.test(
  "a worker that comes while others prepare is prepared too, and the run begins without the one that died",
  async (t) => {
    const driven = preparing();
    driven.say(0, readyWith());
    t.match(eventsIn(driven.close(1)), [{ type: "left", peer: "h1 (pid 1001)" }]);
    t.match(recordsIn(join(driven, 2)), [{ kind: "opened", members: [idOf(0), idOf(2)] }]);
  },
);

t.test("a worker that drops its state comes back over the same connection under a new id", async (t) => {
  const driven = stepping();
  const effects = driven.say(1, helloOf(2));
  t.match(recordsIn(effects), [{ kind: "opened", generation: 2, members: [idOf(0)] }]);
  t.match(toldTo(1, effects), [{ type: "CoordinatorWelcome" }, { type: "CoordinatorStart" }]);
});

t.test("a restarted coordinator that finds no record begins the run with whoever comes", async (t) => {
  const driven = gathering(recoveredWith(null));
  t.match(toldTo(0, join(driven, 0)), [{ type: "CoordinatorWelcome" }, { type: "CoordinatorStart" }]);
  t.match(recordsIn(greet(driven, 1, "spare", { generation: 4 })), [
    { kind: "opened", generation: 5, members: [idOf(0), idOf(1)] },
  ]);
});

t.test("to a restarted coordinator a worker that is still preparing is one more", async (t) => {
  const driven = gathering(recoveredWith(proceedingOf([0, 1])));
  t.match(toldTo(2, driven.say(2, helloOf(2))), [{ type: "CoordinatorWelcome" }, { type: "CoordinatorStart" }]);
});
