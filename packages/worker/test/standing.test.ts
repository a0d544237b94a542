import assert from "node:assert/strict";
import { nextStateId, seedStateId } from "@ringmaster/protocol";
import fc from "fast-check";
import t from "tap";
import { newStanding, nextStanding, type Standing, type StandingInput, type Verdict } from "../src/standing.ts";

const spare: Standing = { ...newStanding, phase: "spare" };
const id = (of: number) => String(of).padStart(16, "0");
/** In generation 4. */
const regrouping: Standing = { ...spare, phase: "regrouping", generation: 4, step: 7, stateId: id(7) };
const stepping: Standing = { ...regrouping, phase: "stepping" };
const done: Standing = { ...regrouping, phase: "done" };
const leaving: Standing = { ...stepping, isLeaving: true };
const none = { step: -1, stateId: seedStateId };

const regroup = (generation: number, isMember: boolean): StandingInput => ({ type: "regroup", generation, isMember });
const fetch = (generation: number, step = 8): StandingInput => ({ type: "fetch", generation, step, stateId: id(step) });
const got = (generation: number, step = 8): StandingInput => ({ type: "got", generation, step, stateId: id(step) });
const proceed = (generation: number, isSeated: boolean, step = 7, stateId = id(step)): StandingInput => ({
  type: "proceed",
  generation,
  isSeated,
  step,
  stateId,
});

const rules: readonly {
  readonly name: string;
  readonly from: Standing;
  readonly input: StandingInput;
  readonly verdict: Verdict;
  readonly changes: Partial<Standing>;
}[] = [
  {
    name: "a coordinator's epoch is remembered",
    from: spare,
    input: { type: "welcome", epoch: 3 },
    verdict: "none",
    changes: { epoch: 3 },
  },
  {
    name: "a coordinator of the same epoch is welcome",
    from: { ...spare, epoch: 3 },
    input: { type: "welcome", epoch: 3 },
    verdict: "none",
    changes: {},
  },
  {
    name: "a coordinator that has been replaced is hung up upon",
    from: { ...stepping, epoch: 3 },
    input: { type: "welcome", epoch: 2 },
    verdict: "hangUp",
    changes: {},
  },
  {
    name: "an unprepared worker becomes a spare",
    from: newStanding,
    input: { type: "prepared" },
    verdict: "none",
    changes: { phase: "spare" },
  },

  {
    name: "a spare that is made a member holds nothing",
    from: spare,
    input: regroup(1, true),
    verdict: "stop",
    changes: { phase: "regrouping", generation: 1 },
  },
  {
    name: "a stepping member stops, and holds what it held",
    from: stepping,
    input: regroup(5, true),
    verdict: "stop",
    changes: { phase: "regrouping", generation: 5 },
  },
  {
    name: "one that is done stops",
    from: done,
    input: regroup(5, true),
    verdict: "stop",
    changes: { phase: "regrouping", generation: 5 },
  },
  {
    name: "a new ring has sound links",
    from: { ...stepping, linksUp: false },
    input: regroup(5, true),
    verdict: "stop",
    changes: { phase: "regrouping", generation: 5, linksUp: true },
  },
  {
    name: "a regrouping member stops for a newer generation",
    from: regrouping,
    input: regroup(5, true),
    verdict: "stop",
    changes: { generation: 5 },
  },
  { name: "a repeat is answered again", from: regrouping, input: regroup(4, true), verdict: "answer", changes: {} },
  {
    name: "once it proceeds, the word that opened its generation is old",
    from: stepping,
    input: regroup(4, true),
    verdict: "none",
    changes: {},
  },
  { name: "an older generation is passed over", from: stepping, input: regroup(3, true), verdict: "none", changes: {} },
  {
    name: "an older generation without it too",
    from: stepping,
    input: regroup(3, false),
    verdict: "none",
    changes: {},
  },
  {
    name: "an unprepared worker is no member",
    from: newStanding,
    input: regroup(3, true),
    verdict: "none",
    changes: {},
  },
  {
    name: "an unprepared worker has nothing to drop",
    from: newStanding,
    input: regroup(3, false),
    verdict: "none",
    changes: {},
  },
  { name: "a spare has nothing to drop", from: spare, input: regroup(3, false), verdict: "none", changes: {} },
  {
    name: "who is not a member drops its state",
    from: stepping,
    input: regroup(5, false),
    verdict: "drop",
    changes: { ...none, phase: "spare", generation: 5 },
  },
  {
    name: "one that is done drops its state too",
    from: done,
    input: regroup(5, false),
    verdict: "drop",
    changes: { ...none, phase: "spare", generation: 5 },
  },
  { name: "a leaver that is not a member goes", from: leaving, input: regroup(5, false), verdict: "go", changes: {} },
  {
    name: "a leaver that is a member stays for its state",
    from: leaving,
    input: regroup(5, true),
    verdict: "stop",
    changes: { phase: "regrouping", generation: 5 },
  },

  { name: "a member that is behind copies", from: regrouping, input: fetch(4), verdict: "copy", changes: {} },
  {
    name: "a member that is there already says so",
    from: regrouping,
    input: fetch(4, 7),
    verdict: "answer",
    changes: {},
  },
  {
    name: "the same step of another history is copied",
    from: regrouping,
    input: { type: "fetch", generation: 4, step: 7, stateId: id(9) },
    verdict: "copy",
    changes: {},
  },
  {
    name: "a fetch of an older generation is passed over",
    from: regrouping,
    input: fetch(3),
    verdict: "none",
    changes: {},
  },
  {
    name: "a fetch of a newer generation is passed over: it has not stopped for it",
    from: regrouping,
    input: fetch(5),
    verdict: "none",
    changes: {},
  },
  { name: "who steps copies nothing", from: stepping, input: fetch(4), verdict: "none", changes: {} },
  {
    name: "a load gives up what is held",
    from: regrouping,
    input: { type: "load", generation: 4 },
    verdict: "load",
    changes: none,
  },
  {
    name: "who steps loads nothing",
    from: stepping,
    input: { type: "load", generation: 4 },
    verdict: "none",
    changes: {},
  },
  {
    name: "a load of an older generation is passed over",
    from: regrouping,
    input: { type: "load", generation: 3 },
    verdict: "none",
    changes: {},
  },
  {
    name: "what was copied is held",
    from: regrouping,
    input: got(4),
    verdict: "answer",
    changes: { step: 8, stateId: id(8) },
  },
  {
    name: "a copy that crosses a generation is not held",
    from: regrouping,
    input: got(3),
    verdict: "none",
    changes: {},
  },
  { name: "a copy that comes while it steps is not held", from: stepping, input: got(4), verdict: "none", changes: {} },

  {
    name: "a member that holds the step proceeds",
    from: regrouping,
    input: proceed(4, true),
    verdict: "proceed",
    changes: { phase: "stepping" },
  },
  {
    name: "a member that is behind does not",
    from: regrouping,
    input: proceed(4, true, 8),
    verdict: "none",
    changes: {},
  },
  {
    name: "a member that holds the step of another history does not",
    from: regrouping,
    input: proceed(4, true, 7, id(9)),
    verdict: "none",
    changes: {},
  },
  { name: "a repeat changes nothing", from: stepping, input: proceed(4, true), verdict: "none", changes: {} },
  {
    name: "a repeat changes nothing when it is done",
    from: done,
    input: proceed(4, true),
    verdict: "none",
    changes: {},
  },
  {
    name: "an older generation proceeds without being heard",
    from: regrouping,
    input: proceed(3, true),
    verdict: "none",
    changes: {},
  },
  {
    name: "a newer one that it has not stopped for is passed over",
    from: stepping,
    input: proceed(5, true),
    verdict: "none",
    changes: {},
  },
  { name: "a spare stays one", from: spare, input: proceed(5, false), verdict: "none", changes: {} },
  {
    name: "a member without a seat drops its state",
    from: regrouping,
    input: proceed(4, false),
    verdict: "drop",
    changes: { ...none, phase: "spare" },
  },
  {
    name: "a leaver without a seat goes",
    from: { ...leaving, phase: "regrouping" },
    input: proceed(4, false),
    verdict: "go",
    changes: {},
  },

  {
    name: "a step that is reduced is held",
    from: stepping,
    input: { type: "held", stateId: id(8) },
    verdict: "none",
    changes: { step: 8, stateId: id(8) },
  },
  {
    name: "nothing is held while it regroups",
    from: regrouping,
    input: { type: "held", stateId: id(8) },
    verdict: "none",
    changes: {},
  },
  {
    name: "after the last step it is done",
    from: stepping,
    input: { type: "finished" },
    verdict: "none",
    changes: { phase: "done" },
  },
  {
    name: "a link is lost",
    from: stepping,
    input: { type: "linkLost", generation: 4 },
    verdict: "none",
    changes: { linksUp: false },
  },
  {
    name: "a link of an older ring is not missed",
    from: stepping,
    input: { type: "linkLost", generation: 3 },
    verdict: "none",
    changes: {},
  },
  {
    name: "a ring that is cut has no links to lose",
    from: regrouping,
    input: { type: "linkLost", generation: 4 },
    verdict: "none",
    changes: {},
  },
];
for (const { name, from, input, verdict, changes } of rules)
  t.test(name, async (t) => {
    const frozen = Object.freeze({ ...from });
    const outcome = nextStanding(frozen, input);
    t.same(outcome.standing, { ...from, ...changes });
    t.equal(outcome.verdict, verdict);
  });

const generation = fc.nat(4);
const state = fc.nat(3).map((step) => ({ step, stateId: nextStateId(seedStateId, step) }));
const anyInput: fc.Arbitrary<StandingInput> = fc.oneof(
  fc.record({ type: fc.constant("welcome" as const), epoch: fc.nat(3) }),
  fc.constant({ type: "prepared" as const }),
  fc.record({ type: fc.constant("regroup" as const), generation, isMember: fc.boolean() }),
  fc
    .record({ type: fc.constant("fetch" as const), generation, state })
    .map(({ state, ...rest }) => ({ ...rest, ...state })),
  fc.record({ type: fc.constant("load" as const), generation }),
  fc
    .record({ type: fc.constant("got" as const), generation, state })
    .map(({ state, ...rest }) => ({ ...rest, ...state })),
  fc
    .record({ type: fc.constant("proceed" as const), generation, isSeated: fc.boolean(), state })
    .map(({ state, ...rest }) => ({ ...rest, ...state })),
  fc.constant({ type: "held" as const, stateId: id(1) }),
  fc.constant({ type: "finished" as const }),
  fc.record({ type: fc.constant("linkLost" as const), generation }),
  fc.constant({ type: "leaving" as const }),
);

t.test("whatever comes, epoch and generation only grow, and no spare holds a state", async (t) => {
  fc.assert(
    fc.property(fc.array(anyInput, { maxLength: 30 }), (inputs) => {
      let standing = newStanding;
      for (const input of inputs) {
        const { standing: next } = nextStanding(standing, input);
        assert.ok(next.epoch >= standing.epoch && next.generation >= standing.generation);
        if (next.phase === "spare" || next.phase === "unprepared") assert.equal(next.step, -1);
        if (next.phase === "stepping" || next.phase === "done") assert.ok(next.step >= 0);
        standing = next;
      }
    }),
  );
  t.pass();
});
