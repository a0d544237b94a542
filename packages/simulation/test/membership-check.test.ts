/**
 * An explicit-state check of the functions that decide who trains: every order of events of small worlds, for what must never happen, and for states
 * from which the run's end is out of reach.
 */
import t from "tap";
import { check } from "./fixtures/membership-check/check.ts";
import { theRules } from "./fixtures/membership-check/rules.ts";
import { deepScenarios, scenarios } from "./fixtures/membership-check/scenarios.ts";

const isDeep = process.env["RINGMASTER_CHECK"] === "deep";
const maxStates = isDeep ? 2_000_000 : 200_000;
if (isDeep) t.setTimeout(0);

for (const scenario of isDeep ? [...scenarios, ...deepScenarios] : scenarios)
  t.test(`no order of events breaks a promise, or keeps the run from its end: ${scenario.name}`, async (t) => {
    const { states, moves, cut, isComplete, violation } = check(scenario, theRules, maxStates);
    t.comment(`${states} states, ${moves} moves, of which ${cut} leave the bounds`);
    t.equal(violation, null, ["", violation?.what, ...(violation?.schedule ?? [])].join("\n"));
    t.ok(isComplete || isDeep, "all states were visited");
  });
