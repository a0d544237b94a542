import { join } from "node:path";
import t from "tap";
import { evaluateState } from "../src/evaluate-state.ts";
import { readEvaluation } from "../src/reduced-evaluation.ts";
import { definitionText, optionsOf, startSide } from "./fixtures/compute.ts";

// Each thread compiles its sources anew.
t.setTimeout(120_000);

t.test("a state is evaluated outside a run as inside one, with any number of threads", async (t) => {
  const configPath = join(t.testdir({ "small.config.ts": definitionText }), "small.config.ts");
  const { side } = await startSide(configPath, 1);
  t.teardown(() => side.close());
  side.takeSeats([0, 1, 2, 3]);
  side.evaluate({ split: "validation", foldInto: 1 });
  await side.whenIdle();
  const inside = readEvaluation(side, "validation", 1);
  t.equal(inside.samples, 30);
  const outside = await evaluateState({
    ...(await optionsOf(configPath, 2)),
    split: "validation",
    restore(tensors) {
      tensors.model.forEach(({ data }, index) => {
        data.set(side.tensors.model[index]?.data ?? []);
      });
    },
  });
  t.same(outside, inside);
});
