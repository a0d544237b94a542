import t from "tap";
import { initialLossScale } from "../src/loss-scale.ts";
import { afterStep, initialProgress } from "../src/progress.ts";

const sums = { loss: 1, correct: 1, samples: 1 };
const float16 = { ...initialProgress, lossScale: initialLossScale("float16") };
const good = (progress: typeof float16) => afterStep(progress, sums, "update", 1000, "float16");
const bad = (progress: typeof float16) => afterStep(progress, sums, "rescale", 1000, "float16");
const times = (count: number, progress: typeof float16) => {
  let after = progress;
  for (let step = 0; step < count; step++) after = good(after);
  return after;
};

t.test("the loss scale of float16 starts at 1024, that of other precisions is 1 and stays", async (t) => {
  t.same(float16.lossScale, { scale: 1024, goodSteps: 0 });
  for (const precision of ["float32", "bfloat16"] as const) {
    t.same(initialLossScale(precision), { scale: 1, goodSteps: 0 });
    t.same(afterStep(initialProgress, sums, "update", 1000, precision).lossScale, { scale: 1, goodSteps: 0 });
  }
});

t.test("an overflow halves the scale and leaves the update out; the step is done all the same", async (t) => {
  const after = bad(times(7, float16));
  t.match(after, { step: 8, optimizerSteps: 7, lossScale: { scale: 512, goodSteps: 0 }, epochSums: { samples: 8 } });
});

t.test("2,000 steps without an overflow double it, counted anew from each", async (t) => {
  t.same(times(1999, float16).lossScale, { scale: 1024, goodSteps: 1999 });
  t.same(times(2000, float16).lossScale, { scale: 2048, goodSteps: 0 });
  t.same(times(1999, bad(times(1500, float16))).lossScale, { scale: 512, goodSteps: 1999 });
});

t.test("it stays between 1 and 32,768", async (t) => {
  t.same(times(20_000, float16).lossScale.scale, 32_768);
  let progress = float16;
  for (let step = 0; step < 20; step++) progress = bad(progress);
  t.same(progress.lossScale.scale, 1);
});
