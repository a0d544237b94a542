/** Each rule of membership is there for a reason: without it, the check of membership finds an order of events that goes wrong. */
import t from "tap";
import { brokenRules } from "./fixtures/membership-check/broken-rules.ts";
import { check } from "./fixtures/membership-check/check.ts";
import { plain } from "./fixtures/membership-check/scenarios.ts";

const maxStates = 50_000;

for (const { name, rules, scenario, finds } of brokenRules)
  t.test(`the check of membership sees it if ${name}`, async (t) => {
    const { violation } = check({ ...plain, name, ...scenario }, rules, maxStates);
    t.match(violation?.what ?? "nothing", finds);
    for (const line of violation?.schedule ?? []) t.comment(line);
  });
