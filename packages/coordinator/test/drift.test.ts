/** Ranks whose states differ: all go back to what they agreed on last, without those that are wrong. */
import t from "tap";
import type { CoordinatorEffect } from "../src/coordinator-io.ts";
import {
  closedIn,
  committedIn,
  connectionOf,
  type DrivenCore,
  endIn,
  eventsIn,
  recordsIn,
  regroup,
  resumeAt,
  stepping,
  toldTo,
} from "./fixtures/core.ts";
import { evaluated, held, idOf, progressAt, stateHash, stateIdOf, stateOf } from "./fixtures/messages.ts";

/** Ranks hold the steps up to `last`, and step 2 is a checkpoint; then their hashes differ. */
function drift(digits: readonly string[], last = 4): { driven: DrivenCore; effects: CoordinatorEffect[] } {
  const driven = stepping({ ranks: digits.length });
  for (let step = 1; step <= last; step++) for (const index of digits.keys()) driven.say(index, held(step));
  const checkpoint = {
    step: 2,
    stateId: stateIdOf(2),
    progress: progressAt(2),
    totalBytes: 140,
    folder: "",
    pauseMs: 0,
  };
  driven.input({ type: "saved", checkpoint });
  driven.say(0, evaluated(4));
  const effects = [...digits].flatMap((digit, index) => driven.say(index, stateHash(last, digit)));
  return { driven, effects };
}

for (const [digits, odd] of [
  [["e", "e", "f"], 2],
  [["f", "e", "e"], 0],
] as const)
  t.test(`the one of three that differs is named and sent away, rank ${odd}`, async (t) => {
    const { driven, effects } = drift(digits);
    const others = [0, 1, 2].filter((index) => index !== odd);
    const line = new RegExp(
      `^states differ after step 4: rank ${odd} \\(pid 100${odd} on h${odd}\\) has f{12}, the others e{12}; going back to the checkpoint of step 2, without it$`,
    );
    t.match(eventsIn(effects)[0], { type: "note", line });
    t.match(toldTo(odd, effects), [{ type: "CoordinatorAbort", code: "STATE_DRIFTED", message: /rank .* has f{12}/ }]);
    t.same(closedIn(effects), [connectionOf(odd)]);
    t.match(recordsIn(effects), [{ kind: "opened", generation: 2, members: others.map(idOf) }]);
    const asked = others.flatMap((index) => regroup(driven, index, 4));
    for (const index of others) t.match(toldTo(index, asked), [{ type: "CoordinatorLoad", step: 2 }]);
    t.equal(endIn(effects), undefined);
  });

t.test("of two that differ nobody knows which is right: both go back", async (t) => {
  const { driven, effects } = drift(["f", "e"]);
  t.match(eventsIn(effects)[0], {
    type: "note",
    line: /rank 0 .* has f{12}, rank 1 .* has e{12}; going back to the checkpoint of step 2$/,
  });
  t.match(recordsIn(effects), [{ kind: "opened", members: [idOf(0), idOf(1)] }]);
  for (const index of [0, 1]) regroup(driven, index, 4);
  const back = [0, 1].flatMap((index) => regroup(driven, index, 2));
  t.match(eventsIn(back), [
    { type: "restored", step: 2 },
    { type: "proceeding", generation: 2, step: 2 },
  ]);
  t.equal(driven.core.committed, 2);
});

/** As above, and both have gone back to step 2. */
function afterRestoring(): DrivenCore {
  const { driven } = drift(["f", "e"]);
  for (const step of [4, 2]) for (const index of [0, 1]) regroup(driven, index, step);
  return driven;
}

const again = (driven: DrivenCore, step: number) =>
  [0, 1].flatMap((index) => driven.say(index, held(step, { generation: 2 })));

t.test("the steps that were gone back behind are shown again, and so are their evaluations", async (t) => {
  const driven = afterRestoring();
  t.same(committedIn([...again(driven, 3), ...again(driven, 4)]), [3, 4]);
  t.match(eventsIn(driven.say(0, { ...evaluated(4), generation: 2 })), [{ type: "evaluated", step: 4 }]);
});

t.test("what is still said of the steps that were gone back behind is void", async (t) => {
  const driven = afterRestoring();
  t.same([...driven.say(0, held(3)), ...driven.say(1, held(3)), ...driven.say(0, evaluated(4))], []);
  t.same(driven.say(0, stateHash(4, "f")), []);
  t.same(driven.say(0, stateOf(4)), []);
  t.equal(driven.core.committed, 2);
});

t.test("a rank is not told that it was kept what is kept no longer", async (t) => {
  const driven = afterRestoring();
  t.same(toldTo(0, driven.input({ type: "kept", step: 4 })), [{ type: "CoordinatorKept", step: 2 }]);
});

t.test("ranks that agree, each at its own time, have not drifted", async (t) => {
  const { say } = stepping();
  const said = [stateHash(10, "e"), stateHash(20, "f")];
  t.same(
    [0, 1].flatMap((index) => said.flatMap((message) => say(index, message))),
    [],
  );
});

t.test("hashes of two generations are not compared", async (t) => {
  const driven = stepping();
  driven.say(0, stateHash(4, "f"));
  t.same(driven.say(1, stateHash(4, "e", 2)), []);
});

t.test("a state that came before another rank disagreed is not written, nor is any from then on", async (t) => {
  const driven = stepping();
  for (const index of [0, 1]) driven.say(index, held(4));
  for (const message of [stateHash(4, "f"), stateOf(4, { stateHash: "f".repeat(64) })]) driven.say(0, message);
  t.same(driven.input({ type: "stateArrived", step: 4, stateId: stateIdOf(4) }), [], "it waits for the other's hash");
  t.ok(driven.say(1, stateHash(4, "e")).some((effect) => effect.type === "forgetState" && effect.step === 4));
  t.match(driven.say(0, stateOf(5)), [{ type: "receiveState", facts: null }]);
});

t.test("a state on its way while the world goes back is let go", async (t) => {
  const driven = stepping({ resume: resumeAt(2) });
  for (const step of [3, 4]) for (const index of [0, 1]) driven.say(index, held(step, { stateId: "a".repeat(16) }));
  driven.say(0, stateOf(4, { stateId: "a".repeat(16) }));
  for (const [index, digit] of ["e", "f"].entries()) driven.say(index, stateHash(4, digit));
  const arrived = { type: "stateArrived", step: 4, stateId: "a".repeat(16) } as const;
  t.same(driven.input(arrived), [{ type: "forgetState", step: 4 }], "before the world is back");
  for (const step of [4, 2]) for (const index of [0, 1]) regroup(driven, index, step);
  t.same(driven.input(arrived), [{ type: "forgetState", step: 4 }], "and afterwards");
});

t.test("a state whose hash is not the one that all agree on is let go", async (t) => {
  const driven = stepping();
  for (const index of [0, 1]) for (const message of [held(4), stateHash(4)]) driven.say(index, message);
  t.match(driven.say(1, stateOf(4, { stateHash: "f".repeat(64) })), [{ type: "receiveState", facts: null }]);
});

t.test("a state that waits for hashes is let go where its step is tried again", async (t) => {
  const driven = stepping();
  for (const message of [held(4), stateHash(4), stateOf(4)]) driven.say(0, message);
  t.same(driven.input({ type: "stateArrived", step: 4, stateId: stateIdOf(4) }), []);
  driven.close(0, { isDead: true });
  const effects = regroup(driven, 1, 3);
  t.match(recordsIn(effects), [{ kind: "proceeding", step: 3 }]);
  t.ok(effects.some((effect) => effect.type === "forgetState" && effect.step === 4));
});
