/** A coordinator that takes the workers of another one back. */
import t from "tap";
import {
  committedIn,
  endIn,
  eventsIn,
  gathering,
  greet,
  proceedingOf,
  recordsIn,
  recoveredWith,
  regroup,
  resumeAt,
  stepping,
  toldTo,
} from "./fixtures/core.ts";
import { config, done, evaluated, held, idOf, stateHash, stateIdOf, stateOf } from "./fixtures/messages.ts";

const at = (step: number, generation = 1) => ({ generation, step, stateId: stateIdOf(step), epoch: 1 });

t.test("where nothing has happened nobody is stopped, and what is said again is shown once", async (t) => {
  const driven = gathering(recoveredWith(proceedingOf([0, 1], { step: 4 }), 6));
  const first = greet(driven, 0, "stepping", at(8));
  t.same(
    toldTo(0, first).map(({ type }) => type),
    ["CoordinatorWelcome", "CoordinatorKept"],
  );
  t.match(eventsIn(first), [{ type: "began", firstStep: 6 }]);
  for (const step of [6, 7, 8]) driven.say(0, held(step));
  t.match(eventsIn(greet(driven, 1, "stepping", at(7))), [{ type: "proceeding", generation: 1, step: 6 }]);
  t.same(committedIn([6, 7].flatMap((step) => driven.say(1, held(step)))), [7]);
  t.same(committedIn(driven.say(1, held(8))), [8]);
});

t.test("evaluations that are on disk are not shown again", async (t) => {
  const recovered = {
    record: proceedingOf([0, 1]),
    committed: 5,
    recordedStep: 0,
    evaluated: [{ step: 5, split: "validation" }],
  };
  const driven = gathering({ epoch: 2, usedGeneration: 1, recovered });
  greet(driven, 0, "stepping", at(8));
  t.same(driven.say(0, evaluated(5)), []);
  t.match(eventsIn(driven.say(0, evaluated(5, "test"))), [{ type: "evaluated" }]);
});

t.test("steps that the world has proceeded from are committed, whoever reports them", async (t) => {
  const driven = gathering(recoveredWith(proceedingOf([0, 1], { step: 8 }), 6));
  greet(driven, 0, "stepping", at(9));
  t.same(committedIn([7, 8, 9].flatMap((step) => driven.say(0, held(step)))), [7, 8]);
});

t.test("one that joined late and comes back first leaves no gap in what is shown", async (t) => {
  const driven = gathering(recoveredWith(proceedingOf([0, 1], { step: 8 }), 5));
  greet(driven, 1, "stepping", at(9));
  t.same(committedIn([8, 9].flatMap((step) => driven.say(1, held(step)))), [], "steps 6 and 7 are still to come");
  greet(driven, 0, "stepping", at(9));
  t.same(committedIn([6, 7, 8, 9].flatMap((step) => driven.say(0, held(step)))), [6, 7, 8, 9]);
});

t.test("a generation that was open is opened again under the next number", async (t) => {
  const record = { kind: "opened", generation: 3, members: [idOf(0), idOf(1)] } as const;
  const driven = gathering(recoveredWith(record, 4));
  t.match(toldTo(0, greet(driven, 0, "stepping", at(6, 2))).at(-1), { type: "CoordinatorRegroup", generation: 3 });
  const effects = greet(driven, 1, "regrouping", at(5, 3));
  t.match(recordsIn(effects), [{ kind: "opened", generation: 4, members: [idOf(0), idOf(1)] }]);
  regroup(driven, 0, 6);
  regroup(driven, 1, 5);
  t.match(recordsIn(regroup(driven, 1, 6)), [{ kind: "proceeding", generation: 4, step: 6 }]);
});

t.test("nobody is sent on before all peers' addresses are known", async (t) => {
  const driven = gathering(recoveredWith(proceedingOf([0, 1], { step: 4, generation: 2 })));
  t.same(
    toldTo(0, greet(driven, 0, "regrouping", at(4, 2))).map(({ type }) => type),
    ["CoordinatorWelcome", "CoordinatorKept"],
  );
  t.match(recordsIn(greet(driven, 1, "regrouping", at(4, 2))), [{ kind: "opened", generation: 3 }]);
});

t.test("more members than seats, one of which was leaving: it waits until that one says so again", async (t) => {
  const record = { kind: "opened", generation: 2, members: [idOf(0), idOf(1), idOf(2)] } as const;
  const driven = gathering({ ...recoveredWith(record), configFor: () => ({ ...config, seats: 2 }) });
  for (const index of [0, 1, 2]) greet(driven, index, "regrouping", at(4, 2));
  t.same(
    [0, 1, 2].flatMap((index) => recordsIn(regroup(driven, index, 4))),
    [],
  );
  t.match(recordsIn(driven.say(1, { type: "WorkerLeaving", reason: "SIGTERM" })), [
    { kind: "proceeding", members: [idOf(0), idOf(2)] },
  ]);
});

t.test("workers that are done are taken back, and the run ends when the last state is written", async (t) => {
  const driven = gathering({ ...recoveredWith(proceedingOf([0, 1], { step: 4 }), 10), resume: resumeAt(5) });
  for (const index of [0, 1]) {
    greet(driven, index, "done", at(10));
    driven.say(index, held(10));
    driven.say(index, done(10));
  }
  driven.say(0, stateOf(10));
  t.match(driven.input({ type: "stateArrived", step: 10, stateId: stateIdOf(10) }), [
    { type: "writeCheckpoint", step: 10 },
  ]);
  const facts = { ...resumeAt(10), folder: "", pauseMs: 0 };
  t.match(endIn(driven.input({ type: "saved", checkpoint: facts })), { exitCode: 0, code: "FINISHED" });
});

t.test("hashes that are said again are compared", async (t) => {
  const driven = gathering(recoveredWith(proceedingOf([0, 1], { step: 4 }), 5));
  for (const index of [0, 1]) greet(driven, index, "stepping", at(6));
  driven.say(0, stateHash(6, "e"));
  t.match(eventsIn(driven.say(1, stateHash(6, "f")))[0], { type: "note", line: /states differ after step 6/ });
});

t.test("a stop that is asked for while nobody is back is planned when they are", async (t) => {
  const driven = gathering(recoveredWith(proceedingOf([0, 1], { step: 4 })));
  t.same(eventsIn(driven.input({ type: "stop", reason: "Ctrl-C" })), [{ type: "stopping", reason: "Ctrl-C" }]);
  for (const index of [0, 1])
    t.match(toldTo(index, greet(driven, index, "stepping", at(6)))[1], { type: "CoordinatorPlan", change: "stop" });
});

t.test("a stop while there is no record waits for workers; a second one ends the run", async (t) => {
  const driven = gathering(recoveredWith(null));
  t.equal(endIn(driven.input({ type: "stop", reason: "Ctrl-C" })), undefined);
  t.match(endIn(driven.input({ type: "stop", reason: "Ctrl-C" })), { exitCode: 130, code: "STOPPED" });
});

t.test("while a record is written nobody is told anything, and what is said is taken in", async (t) => {
  const driven = stepping();
  driven.unflushed({ type: "closed", connection: 11, reason: "", isDead: true });
  t.same(driven.unflushed({ type: "message", connection: 10, message: held(1) }), []);
  t.match(toldTo(0, driven.input({ type: "recorded" })), [{ type: "CoordinatorRegroup", generation: 2 }]);
  t.same(committedIn(regroup(driven, 0, 1)), [1]);
});
