import t from "tap";
import { Plans } from "../src/plans.ts";

const stop = { planId: 1, change: "stop" as const };
const save = { planId: 2, change: "checkpoint" as const };
const hearing = (...plans: readonly (typeof stop | typeof save)[]) => {
  const heard = new Plans();
  for (const plan of plans) heard.hear(plan);
  return heard;
};

t.test("a plan takes effect after the step that all seats were given it in", async (t) => {
  const plans = hearing(stop);
  t.equal(plans.give(), true);
  plans.held(1, false);
  t.equal(plans.effect, null);
  plans.give();
  plans.held(2, true);
  t.same(plans.effect, { ...stop, after: 2 });
  t.equal(plans.give(), false);
});

t.test("a plan that came while a step was under way is not that step's", async (t) => {
  const plans = hearing();
  plans.give();
  plans.hear(stop);
  plans.held(1, true);
  t.equal(plans.effect, null);
});

t.test("the effect is that of the plan which the step was given, though a newer came since", async (t) => {
  const plans = hearing(stop);
  plans.give();
  plans.hear(save);
  plans.held(1, true);
  t.same(plans.effect, { ...stop, after: 1 });
  t.equal(plans.give(), true);
  plans.held(2, true);
  t.same(plans.effect, { ...save, after: 2 });
});

t.test("a plan that took effect, or an older one, is not pending again when it is said again", async (t) => {
  const plans = hearing(save);
  plans.give();
  plans.held(1, true);
  plans.hear(save);
  plans.hear(stop);
  t.equal(plans.give(), false);
});

t.test("the newest counts, in whatever order they come", async (t) => {
  const plans = hearing(save, stop);
  plans.give();
  plans.held(1, true);
  t.match(plans.effect, save);
});

t.test("a state that is copied brings its effect, which settles a pending plan that is not newer", async (t) => {
  const settled = hearing(stop);
  settled.adopt({ ...stop, after: 3 });
  t.equal(settled.give(), false);
  const newer = hearing(save);
  newer.adopt({ ...stop, after: 3 });
  t.equal(newer.give(), true);
});

t.test("a state from before the effect makes the plan pending again", async (t) => {
  const plans = hearing(stop);
  plans.give();
  plans.held(5, true);
  plans.adopt(null);
  t.equal(plans.effect, null);
  t.equal(plans.give(), true);
  plans.held(4, true);
  t.same(plans.effect, { ...stop, after: 4 });
});

t.test("a step that was cut off gives nothing an effect", async (t) => {
  const plans = hearing(stop);
  plans.give();
  plans.adopt(null);
  plans.held(1, true);
  t.equal(plans.effect, null);
});
