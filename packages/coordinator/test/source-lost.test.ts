/** The checkpoint that members are to load turns out damaged: what the core makes of the one that the shell found in its place. */
import t from "tap";
import type { CoordinatorEffect, CoordinatorInput } from "../src/coordinator-io.ts";
import {
  type DrivenCore,
  eventsIn,
  greet,
  join,
  recordsIn,
  regroup,
  resumeAt,
  stepping,
  toldTo,
} from "./fixtures/core.ts";
import { held, progressAt, stateHash, stateIdOf, stateOf } from "./fixtures/messages.ts";

const factsOf = (step: number) => ({ step, stateId: stateIdOf(step), progress: progressAt(step), totalBytes: 140 });
const saved = (step: number): CoordinatorInput => ({
  type: "saved",
  checkpoint: { ...factsOf(step), folder: "", pauseMs: 0 },
});
const lost = (step: number, next: number | null): CoordinatorInput => ({
  type: "sourceLost",
  step,
  message: "model.safetensors is damaged",
  next: next === null ? null : factsOf(next),
});
const why = "the checkpoint of step 4 is not usable: model.safetensors is damaged";

/** Two ranks hold step 5, and steps 2 and 4 are checkpoints. */
function withCheckpoints(): DrivenCore {
  const driven = stepping();
  for (let step = 1; step <= 5; step++) for (const index of [0, 1]) driven.say(index, held(step));
  for (const step of [2, 4]) {
    for (const index of [0, 1]) driven.say(index, stateHash(step));
    arrives(driven, step);
    driven.input(saved(step));
  }
  return driven;
}

/** Rank 0 sends its state of this step. */
const arrives = ({ say, input }: DrivenCore, step: number): CoordinatorEffect[] => [
  ...say(0, stateOf(step)),
  ...input({ type: "stateArrived", step, stateId: stateIdOf(step) }),
];

/** Both are dead, and another one is asked to load step 4. */
function loading(): DrivenCore {
  const driven = withCheckpoints();
  for (const index of [0, 1]) driven.close(index, { isDead: true });
  join(driven, 2);
  regroup(driven, 2);
  return driven;
}

const sendsOf = (effects: readonly CoordinatorEffect[]) =>
  effects.flatMap((effect) => (effect.type === "sendState" ? [effect.step] : []));

t.test("all go back to the one before it, and it is said why", async (t) => {
  const driven = loading();
  const effects = driven.input(lost(4, 2));
  t.match(eventsIn(effects), [
    { type: "note", line: `${why}; going back to the checkpoint of step 2, unless a rank holds a newer state` },
    { type: "regrouping", because: why },
  ]);
  t.match(toldTo(2, effects)[0], { type: "CoordinatorSaved", step: 2 });
  const asked = regroup(driven, 2);
  t.same(sendsOf(asked), [2]);
  t.match(toldTo(2, asked), [{ type: "CoordinatorLoad", step: 2 }]);
  const back = regroup(driven, 2, 2);
  t.match(eventsIn(back), [
    { type: "restored", step: 2, because: why },
    { type: "proceeding", step: 2 },
  ]);
  t.equal(driven.core.committed, 2);
  t.equal(driven.core.sourceStep, 2);
});

t.test(
  "where there is none before it, they go back to the seed, and whoever returns hears that nothing is on disk",
  async (t) => {
    const driven = loading();
    t.match(eventsIn(driven.input(lost(4, null)))[0], {
      line: `${why}; going back to the beginning, unless a rank holds a newer state`,
    });
    const asked = regroup(driven, 2);
    t.same(sendsOf(asked), []);
    t.match(toldTo(2, asked), [{ type: "CoordinatorLoad", step: 0, source: { kind: "seed" } }]);
    const back = regroup(driven, 2, 0);
    t.match(eventsIn(back)[0], { type: "restored", step: 0, because: why });
    t.equal(driven.core.committed, 0);
    const { generation = 0 } = driven.core.record ?? {};
    driven.close(2);
    driven.close(2);
    const again = greet(driven, 2, "stepping", { generation, step: 0, stateId: stateIdOf(0) });
    t.match(
      toldTo(2, again).filter(({ type }) => type === "CoordinatorSaved"),
      [{ step: 0 }],
    );
  },
);

t.test("a word of a checkpoint whose place another has taken is passed over", async (t) => {
  const driven = loading();
  t.same(driven.input(lost(2, null)), [], "an older one");
  driven.input(lost(4, 2));
  t.same(driven.input(lost(4, 2)), [], "a second time");
  t.equal(driven.core.sourceStep, 2);
});

t.test("ranks that hold a newer state go on from it: nothing is restored", async (t) => {
  const driven = withCheckpoints();
  driven.input(lost(4, 2));
  const effects = [0, 1].flatMap((index) => regroup(driven, index, 5));
  t.match(recordsIn(effects), [{ kind: "proceeding", step: 5 }]);
  t.notOk(eventsIn(effects).some(({ type }) => type === "restored"));
  t.equal(driven.core.committed, 5);
});

t.test("a step that was on disk is written again", async (t) => {
  const driven = withCheckpoints();
  t.notOk(arrives(driven, 4).some(({ type }) => type === "writeCheckpoint"));
  driven.input(lost(4, 2));
  t.ok(arrives(driven, 4).some((effect) => effect.type === "writeCheckpoint" && effect.step === 4));
});

t.test("where the world was going back to it, it goes back further, whatever its ranks hold", async (t) => {
  const driven = withCheckpoints();
  for (const [index, digit] of ["e", "f"].entries()) driven.say(index, stateHash(5, digit));
  for (const index of [0, 1]) regroup(driven, index, 5);
  const effects = driven.input(lost(4, 2));
  t.match(eventsIn(effects)[0], { type: "note", line: `${why}; going back to the checkpoint of step 2` });
  const asked = [0, 1].flatMap((index) => regroup(driven, index, 4));
  for (const index of [0, 1]) t.match(toldTo(index, asked), [{ type: "CoordinatorLoad", step: 2 }]);
  const back = [0, 1].flatMap((index) => regroup(driven, index, 2));
  t.match(eventsIn(back)[0], { type: "restored", step: 2, because: why });
});

t.test("a resumed run that is under way goes back before the checkpoint that it was resumed from", async (t) => {
  const driven = stepping({ resume: resumeAt(4) });
  for (const index of [0, 1]) driven.close(index, { isDead: true });
  join(driven, 2);
  regroup(driven, 2);
  driven.input(lost(4, 2));
  regroup(driven, 2);
  const back = regroup(driven, 2, 2);
  t.match(eventsIn(back)[0], { type: "restored", step: 2 });
});
