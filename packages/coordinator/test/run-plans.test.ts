import { planWord } from "@ringmaster/protocol";
import t from "tap";
import { RunPlans } from "../src/run-plans.ts";
import type { StepReport } from "../src/step-ledger.ts";
import { held } from "./fixtures/messages.ts";

const seats = 4;
const used = 2 ** 16;

/** A committed step in which this many seats had this plan, and the others none. */
function reportWith(step: number, planId: number, count = seats): StepReport {
  const { stateId, tail, timing, memoryBytes } = held(step);
  return { step, stateId, tail: { ...tail, plan: count * planWord(planId) }, timing, memoryBytes };
}

t.test("plans are numbered from where the coordinator before ended, one at a time", async (t) => {
  const plans = new RunPlans(used);
  t.same(plans.make("checkpoint"), { type: "CoordinatorPlan", planId: used + 1, change: "checkpoint" });
  t.equal(plans.make("checkpoint"), null, "one is pending");
  t.equal(plans.committed([reportWith(1, used + 1, seats - 1)], seats), null, "a rank has not heard of it");
  t.equal(plans.make("checkpoint"), null);
  plans.committed([reportWith(2, used + 1)], seats);
  t.match(plans.make("checkpoint"), { planId: used + 2 });
});

t.test("that all ranks had another plan gives this one no effect", async (t) => {
  const plans = new RunPlans(used);
  plans.make("stop");
  plans.committed([reportWith(1, used)], seats);
  t.equal(plans.make("stop"), null, "it is pending still");
});

t.test("a stop waits for the plan before it, and is made as soon as that took effect", async (t) => {
  const plans = new RunPlans(used);
  plans.make("checkpoint");
  plans.stops("Ctrl-C");
  t.equal(plans.make("stop"), null);
  t.match(plans.committed([reportWith(1, used + 1)], seats), { planId: used + 2, change: "stop" });
  t.equal(plans.committed([reportWith(2, used + 2)], seats), null, "after it there is nothing");
  t.equal(plans.stopReason, "Ctrl-C");
});

t.test("a state that is loaded knows of no plan: the newest is pending again", async (t) => {
  const plans = new RunPlans(used);
  plans.make("stop");
  plans.committed([reportWith(1, used + 1)], seats);
  plans.loads();
  t.equal(plans.make("stop"), null);
  t.match(plans.newest, { planId: used + 1 }, "and whoever comes is told it");
});
