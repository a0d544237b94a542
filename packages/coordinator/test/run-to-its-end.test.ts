import t from "tap";
import type { CoordinatorEffect } from "../src/coordinator-io.ts";
import {
  closedIn,
  connectionOf,
  type DrivenCore,
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
  hash,
  held,
  helloOf,
  progressAt,
  readyWith,
  stateOf,
  tensors,
} from "./fixtures/messages.ts";

const stateHash = (step: number, digit: string) => ({
  type: "WorkerStateHash" as const,
  generation: 1,
  step,
  hash: hash(digit),
});
const committedIn = (effects: readonly CoordinatorEffect[]) =>
  eventsIn(effects).flatMap((event) => (event.type === "committed" ? [event.step] : []));

/** Worker 0 has announced the state of `step`, and all have agreed on its hash. */
function announce({ say }: DrivenCore, step: number, ranks = 2): CoordinatorEffect[] {
  for (let index = 0; index < ranks; index++) say(index, stateHash(step, "e"));
  return say(0, stateOf(step, 140));
}

t.test("a step is committed only when all ranks hold it", async (t) => {
  const { say } = stepping({ ranks: 3 });
  t.same(committedIn([...say(2, held(1)), ...say(0, held(1)), ...say(0, held(2))]), []);
  t.same(committedIn(say(1, held(1))), [1]);
  t.same(committedIn([...say(1, held(2)), ...say(1, held(3))]), []);
  t.same(committedIn(say(2, held(2))), [2]);
});

t.test("a resumed run commits from the step after its checkpoint", async (t) => {
  const { say } = stepping({ ranks: 1, resume: resumeAt(7) });
  t.same(committedIn([...say(0, held(7)), ...say(0, held(8))]), [8]);
});

t.test(
  "an evaluation is passed on once its step is committed, so that the order is the same in every world",
  async (t) => {
    const { say } = stepping();
    const event = { type: "evaluated", step: 1, evaluation: evaluated(1).evaluation };
    t.same(eventsIn([...say(0, held(1)), ...say(0, evaluated(1))]), []);
    t.match(eventsIn(say(1, held(1))), [{ type: "committed", step: 1 }, event]);
    t.same(eventsIn(say(0, evaluated(1))), [event], "a second evaluation of a committed step");
  },
);

const drifts = [
  {
    name: "the odd one out",
    hashes: ["e", "e", "f"],
    message: /^states differ after step 10: rank 2 \(pid 1002 on h2\) has f{12}, the others e{12};/,
  },
  {
    name: "the odd one out, who was first",
    hashes: ["f", "e", "e"],
    message: /step 10: rank 0 \(pid 1000 on h0\) has f{12}, the others e{12};/,
  },
  {
    name: "both of two",
    hashes: ["f", "e"],
    message: /step 10: rank 0 \(pid 1000 on h0\) has f{12}, rank 1 \(pid 1001 on h1\) has e{12};/,
  },
];
for (const { name, hashes, message } of drifts)
  t.test(`ranks that have drifted end the run, naming ${name}`, async (t) => {
    const { say } = stepping({ ranks: hashes.length });
    const effects = hashes.flatMap((digit, index) => say(index, stateHash(10, digit)));
    t.match(endIn(effects), { exitCode: 1, code: "STATE_DRIFTED", message });
    for (const index of hashes.keys())
      t.match(toldTo(index, effects), [{ type: "CoordinatorAbort", code: "STATE_DRIFTED" }]);
  });

t.test("equal hashes, each rank at its own time, are no drift", async (t) => {
  const { say } = stepping();
  t.same(
    [say(0, stateHash(10, "e")), say(0, stateHash(20, "f")), say(1, stateHash(10, "e")), say(1, stateHash(20, "f"))],
    [[], [], [], []],
  );
});

t.test("a state is received with all that its checkpoint needs", async (t) => {
  t.same(announce(stepping(), 10), [
    {
      type: "receiveState",
      connection: connectionOf(0),
      totalBytes: 140,
      checkpoint: { step: 10, progress: progressAt(10), layoutHash: hash("1"), stateHash: hash("e"), tensors, config },
    },
  ]);
});

t.test("a state that waited for others to be sent is received however late it comes", async (t) => {
  const { say } = stepping();
  for (let step = 1; step <= 500; step++) for (const index of [0, 1]) say(index, stateHash(step, "e"));
  t.match(say(0, stateOf(1, 140)), [{ type: "receiveState", checkpoint: { step: 1, stateHash: hash("e") } }]);
});

t.test("a state whose hash nobody heard ends the run", async (t) => {
  const effects = stepping().say(1, stateOf(10, 140));
  t.match(endIn(effects), {
    code: "UNEXPECTED_MESSAGE",
    message: /rank 1 .* sent a state of step 10 that was not due/,
  });
});

t.test("everybody hears that a checkpoint is on disk", async (t) => {
  const driven = stepping();
  announce(driven, 5);
  const effects = driven.input({ type: "saved", step: 5, folder: "/runs/x" });
  t.same(eventsIn(effects), [{ type: "saved", step: 5, folder: "/runs/x" }]);
  for (const index of [0, 1]) t.same(toldTo(index, effects), [{ type: "CoordinatorSaved", step: 5 }]);
});

t.test("a checkpoint that cannot be written ends the run", async (t) => {
  const driven = stepping();
  announce(driven, 5);
  const effects = driven.input({ type: "saveFailed", step: 5, message: "no space left" });
  t.match(endIn(effects), { exitCode: 1, code: "CHECKPOINT_FAILED", message: /step 5 .* no space left/ });
});

const saved = (step: number) => ({ type: "saved" as const, step, folder: "/runs/x" });
const inAnyOrder: readonly {
  name: string;
  last: (driven: DrivenCore) => CoordinatorEffect[];
  before: (driven: DrivenCore) => CoordinatorEffect[];
}[] = [
  {
    name: "the save comes last",
    before: (driven) => [...announce(driven, 10), ...driven.say(0, done(10)), ...driven.say(1, done(10))],
    last: (driven) => driven.input(saved(10)),
  },
  {
    name: "a rank comes last",
    before: (driven) => [...announce(driven, 10), ...driven.say(0, done(10)), ...driven.input(saved(10))],
    last: (driven) => driven.say(1, done(10)),
  },
  {
    name: "the state was announced after all were done",
    before: (driven) => [...driven.say(0, done(10)), ...driven.say(1, done(10)), ...announce(driven, 10)],
    last: (driven) => driven.input(saved(10)),
  },
  {
    name: "an earlier state was still being written",
    before: (driven) => [
      ...announce(driven, 5),
      ...driven.say(0, done(10)),
      ...driven.say(1, done(10)),
      ...announce(driven, 10),
      ...driven.input(saved(5)),
    ],
    last: (driven) => driven.input(saved(10)),
  },
];
for (const { name, before, last } of inAnyOrder)
  t.test(`a run is over only when all ranks are done and the last state is saved: ${name}`, async (t) => {
    const driven = stepping();
    t.same(endIn(before(driven)), undefined);
    const effects = last(driven);
    t.match(endIn(effects), { exitCode: 0, code: "FINISHED" });
    for (const index of [0, 1]) t.match(toldTo(index, effects).at(-1), { type: "CoordinatorFinish" });
  });

t.test("a run that is resumed at its end is over when all say so: its last state is saved already", async (t) => {
  const { say } = stepping({ resume: resumeAt(10) });
  t.same(endIn(say(0, done(10))), undefined);
  t.match(endIn(say(1, done(10))), { exitCode: 0, code: "FINISHED" });
});

t.test("a stop while gathering or preparing ends the run at once: there is nothing to save", async (t) => {
  for (const start of [gathering, preparing]) {
    const driven = start();
    if (start === gathering) driven.say(0, helloOf(0));
    const effects = driven.input({ type: "stop", reason: "Ctrl-C" });
    t.match(endIn(effects), {
      exitCode: 130,
      code: "STOPPED",
      message: "Ctrl-C before the first step: there is nothing to save",
    });
    t.match(toldTo(0, effects), [{ type: "CoordinatorAbort", code: "STOPPED" }]);
  }
});

t.test("a stop while stepping is planned by all, saved, and then ends the run with 130", async (t) => {
  const driven = stepping();
  const { input, say } = driven;
  const stopping = input({ type: "stop", reason: "Ctrl-C" });
  t.same(eventsIn(stopping), [{ type: "stopping", reason: "Ctrl-C" }]);
  for (const index of [0, 1])
    t.same(toldTo(index, stopping), [{ type: "CoordinatorPlan", generation: 1, planId: 1, change: "stop" }]);
  t.same(input({ type: "stop", reason: "Ctrl-C again" }), [], "once is enough");
  announce(driven, 3);
  t.same(endIn([...say(0, done(3, true)), ...say(1, done(3, true))]), undefined);
  const effects = input(saved(3));
  t.match(endIn(effects), { exitCode: 130, code: "STOPPED", message: "Ctrl-C" });
  for (const index of [0, 1]) t.match(toldTo(index, effects).at(-1), { type: "CoordinatorFinish", reason: "stopped" });
});

t.test("a stop that comes when the last step is done changes nothing", async (t) => {
  const driven = stepping();
  announce(driven, 10);
  driven.say(0, done(10));
  driven.input({ type: "stop", reason: "Ctrl-C" });
  driven.say(1, done(10));
  t.match(endIn(driven.input(saved(10))), { exitCode: 0, code: "FINISHED" });
});

for (const [how, words, reason, told] of [
  ["vanishes", [], "", "is gone"],
  ["hangs up", [], "its own end", "is gone: its own end"],
  ["leaves", [{ type: "WorkerBye", reason: "asked to end" }], "closed", "left: asked to end"],
] as const)
  t.test(`a worker that ${how} is named by rank, process, host and step`, async (t) => {
    const { input, say } = stepping();
    for (const index of [0, 1]) say(index, held(1));
    for (const message of words) t.same(say(1, message), []);
    const effects = input({ type: "closed", connection: connectionOf(1), reason });
    t.match(endIn(effects), { exitCode: 1, code: "WORKER_LOST", message: `rank 1 (pid 1001 on h1) ${told} (step 1)` });
    t.match(toldTo(0, effects), [{ type: "CoordinatorAbort", code: "WORKER_LOST" }]);
  });

t.test("a worker lost while preparing ends the run too", async (t) => {
  const effects = preparing().input({ type: "closed", connection: connectionOf(0), reason: "" });
  t.match(endIn(effects), { code: "WORKER_LOST", message: /rank 0 .*step 0/ });
});

t.test("a connection that never became a worker comes and goes", async (t) => {
  for (const { core, input } of [gathering(), preparing(), stepping()]) {
    const { phase } = core;
    t.same(input({ type: "closed", connection: 99, reason: "" }), []);
    const effects = input({ type: "malformed", connection: 99, code: "MESSAGE_UNKNOWN", message: "expected a type" });
    t.same(closedIn(effects), [99]);
    t.match(eventsIn(effects), [{ type: "refused", peer: "connection 99", code: "MESSAGE_UNKNOWN" }]);
    t.same([endIn(effects), toldTo(0, effects)], [undefined, []]);
    t.equal(core.phase, phase);
  }
});

t.test("a member's malformed message ends the run, naming it", async (t) => {
  for (const start of [preparing, stepping]) {
    const malformed = {
      type: "malformed" as const,
      connection: connectionOf(1),
      code: "MESSAGE_UNKNOWN",
      message: "a type that",
    };
    t.match(endIn(start().input(malformed)), {
      code: "MESSAGE_UNKNOWN",
      message: "rank 1 (pid 1001 on h1) sent a type that",
    });
  }
});

t.test("a worker's own failure ends the run with its code, at once", async (t) => {
  for (const [start, generation] of [
    [preparing, 0],
    [preparing, 1],
    [stepping, 1],
  ] as const) {
    const effects = start().say(1, {
      type: "WorkerFailed",
      generation,
      code: "LOSS_NOT_FINITE",
      message: "step 3: NaN",
    });
    t.match(endIn(effects), { exitCode: 1, code: "LOSS_NOT_FINITE", message: "rank 1 (pid 1001 on h1): step 3: NaN" });
  }
});

const linkLost = {
  type: "WorkerFailed" as const,
  generation: 1,
  code: "LINK_LOST",
  message: "the link to rank 2 ended",
};

t.test("a broken link waits for the death that explains it, and the dead is blamed", async (t) => {
  const { input, say } = stepping({ ranks: 3 });
  t.same(say(0, linkLost, 100), []);
  t.same(input({ type: "tick" }, 500), []);
  t.same(
    input({ type: "closed", connection: connectionOf(0), reason: "the link to rank 2 ended" }, 600),
    [],
    "it only reports",
  );
  t.same(say(1, linkLost, 700), []);
  const effects = input({ type: "closed", connection: connectionOf(2), reason: "" }, 800);
  t.match(endIn(effects), { code: "WORKER_LOST", message: /^rank 2 \(pid 1002 on h2\) is gone/ });
});

t.test("a broken link that no death explains is blamed itself after a second", async (t) => {
  const { input, say } = stepping({ ranks: 3 });
  say(1, linkLost, 100);
  t.same(input({ type: "tick" }, 1099), []);
  t.match(endIn(input({ type: "tick" }, 1100)), {
    code: "LINK_LOST",
    message: "rank 1 (pid 1001 on h1): the link to rank 2 ended",
  });
});

/** Ticks every half second; worker 0 alone goes on talking. */
function silence(driven: DrivenCore, untilMs: number): CoordinatorEffect[] {
  const effects: CoordinatorEffect[] = [];
  for (let now = 500; now <= untilMs; now += 500) {
    effects.push(
      ...driven.say(0, { type: "WorkerHeartbeat", sentAtMs: 0 }, now),
      ...driven.input({ type: "tick" }, now),
    );
  }
  return effects;
}

for (const start of [preparing, stepping])
  t.test(
    `a worker that says nothing for ten seconds while ${start.name} ends the run, named with its step`,
    async (t) => {
      t.same(silence(start(), 10_000), []);
      t.match(endIn(silence(start(), 10_500)), {
        exitCode: 1,
        code: "WORKER_SILENT",
        message: "rank 1 (pid 1001 on h1) has said nothing for 10500 ms (step 0)",
      });
    },
  );

t.test("how long a silence may be can be chosen", async (t) => {
  t.match(endIn(silence(stepping({ silenceMs: 2000 }), 2500)), { code: "WORKER_SILENT" });
});

t.test("a coordinator that was late itself judges nobody", async (t) => {
  const driven = stepping();
  silence(driven, 1000);
  t.same(
    driven.input({ type: "tick" }, 60_000),
    [],
    "it was stopped for a minute: what was said meanwhile is not read yet",
  );
  t.same(driven.input({ type: "tick" }, 60_500), []);
});

t.test("after its end a run answers nothing", async (t) => {
  const { core, input, say } = stepping();
  input({ type: "closed", connection: connectionOf(0), reason: "" });
  t.equal(core.phase, "ended");
  t.same([...say(1, held(1)), ...say(5, helloOf(5)), ...say(1, readyWith()), ...input({ type: "tick" }, 1e6)], []);
});
