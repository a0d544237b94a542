import { planWord } from "@ringmaster/protocol";
import t from "tap";
import { Plans } from "../src/plans.ts";

const stop = { planId: 1, change: "stop" as const };
const save = { planId: 2, change: "checkpoint" as const };
const hearing = (...plans: readonly (typeof stop | typeof save)[]) => {
  const heard = new Plans();
  for (const plan of plans) heard.hear(plan);
  return heard;
};

const seats = 4;
/** A step in which all seats were given what this rank was. */
function holdWith(plans: Plans, step: number): void {
  plans.held(step, seats * plans.give(), seats);
}

t.test("a plan takes effect after the step that all seats were given it in", async (t) => {
  const plans = hearing(stop);
  t.equal(plans.give(), 1);
  plans.held(1, 3 * planWord(stop.planId), seats);
  t.equal(plans.effect, null);
  holdWith(plans, 2);
  t.same(plans.effect, { ...stop, after: 2 });
  t.equal(plans.give(), 0);
});

t.test("a plan that came while a step was under way is not that step's", async (t) => {
  const plans = hearing();
  plans.give();
  plans.hear(stop);
  plans.held(1, seats * planWord(stop.planId), seats);
  t.equal(plans.effect, null);
});

t.test("the effect is that of the plan which the step was given, though a newer came since", async (t) => {
  const plans = hearing(stop);
  plans.give();
  plans.hear(save);
  plans.held(1, seats * planWord(stop.planId), seats);
  t.same(plans.effect, { ...stop, after: 1 });
  holdWith(plans, 2);
  t.same(plans.effect, { ...save, after: 2 });
});

t.test("a plan that took effect, or an older one, is not pending again when it is said again", async (t) => {
  const plans = hearing(save);
  holdWith(plans, 1);
  plans.hear(save);
  plans.hear(stop);
  t.equal(plans.give(), 0);
});

t.test("the newest counts, in whatever order they come", async (t) => {
  const plans = hearing(save, stop);
  holdWith(plans, 1);
  t.match(plans.effect, save);
});

t.test("a state that is copied brings its effect, which settles a pending plan that is not newer", async (t) => {
  const settled = hearing(stop);
  settled.adopt({ ...stop, after: 3 });
  t.equal(settled.give(), 0);
  const newer = hearing(save);
  newer.adopt({ ...stop, after: 3 });
  t.equal(newer.give(), planWord(save.planId));
});

t.test("a state from before the effect makes the plan pending again", async (t) => {
  const plans = hearing(stop);
  holdWith(plans, 5);
  plans.adopt(null);
  t.equal(plans.effect, null);
  holdWith(plans, 4);
  t.same(plans.effect, { ...stop, after: 4 });
});

t.test("a step that was cut off gives nothing an effect", async (t) => {
  const plans = hearing(stop);
  plans.give();
  plans.adopt(null);
  plans.held(1, seats * planWord(stop.planId), seats);
  t.equal(plans.effect, null);
});

t.test("where ranks have different plans none takes effect, however many seats each was given to", async (t) => {
  const older = 7;
  // As numbered by the next coordinator, and the one for which the sum would come nearest.
  for (const newer of [older + 2 ** 16, older + 2 ** 17, older + 1]) {
    const plans = new Plans();
    plans.hear({ planId: newer, change: "stop" });
    for (let others = 1; others < seats; others++) {
      const word = plans.give();
      plans.held(others, (seats - others) * word + others * planWord(older), seats);
      t.equal(plans.effect, null, `${others} seats have plan ${older}, the others ${newer}`);
    }
  }
});
