import { maxLeftOut } from "@ringmaster/protocol";
import t from "tap";
import { judgeStep } from "../src/judge-step.ts";
import { config, progressAt, stepHeld } from "./fixtures/messages.ts";

const wrongTails = [
  { name: "too few samples", tail: { samples: 63 }, found: /expected 64 samples .*found 63 samples/ },
  {
    name: "the first limb of the receipt differs",
    tail: { receipt: [9, 2, 3, 4] as const },
    found: /receipt 1\.2\.3\.4, found .* 9\.2\.3\.4/,
  },
  {
    name: "the last limb of the receipt differs",
    tail: { receipt: [1, 2, 3, 9] as const },
    found: /receipt 1\.2\.3\.4, found .* 1\.2\.3\.9/,
  },
];
for (const { name, tail, found } of wrongTails)
  t.test(
    `a step whose samples are not those of the sampler is a fault, however lenient the config: ${name}`,
    async (t) => {
      const fault = judgeStep(stepHeld(tail), progressAt(3), { ...config, onNotFinite: "skip" });
      t.match(fault, { code: "RECEIPT_WRONG", message: found });
      t.match(fault, { message: /^step 4: a sample was left out, used twice or stale/ });
    },
  );

const stop = config;
const skip = { ...config, onNotFinite: "skip" as const };
const half = { ...config, precision: "float16" as const };
const at = (scale: number, skippedInRow = 0) => ({
  ...progressAt(3),
  lossScale: { scale, goodSteps: 0 },
  skippedInRow,
});
const nan = { loss: Number.NaN };
const overflow = { overflowed: 1 };
const verdicts = [
  { name: "everything finite", tail: {}, progress: at(1), rules: stop, use: "update" },
  { name: "a gradient that is not", tail: overflow, progress: at(1), rules: stop, code: "GRADIENT_NOT_FINITE" },
  {
    name: "a gradient in bfloat16",
    tail: overflow,
    progress: at(1),
    rules: { ...stop, precision: "bfloat16" as const },
    code: "GRADIENT_NOT_FINITE",
  },
  { name: "a loss that is NaN", tail: nan, progress: at(1), rules: stop, code: "LOSS_NOT_FINITE" },
  {
    name: "a loss that is infinite",
    tail: { loss: Number.NEGATIVE_INFINITY },
    progress: at(1),
    rules: stop,
    code: "LOSS_NOT_FINITE",
  },
  { name: "both", tail: { ...nan, ...overflow }, progress: at(1), rules: stop, code: "LOSS_NOT_FINITE" },
  { name: "a gradient, to be skipped", tail: overflow, progress: at(1), rules: skip, use: "skip" },
  { name: "a loss, to be skipped", tail: nan, progress: at(1), rules: skip, use: "skip" },
  { name: "the ninth in a row", tail: nan, progress: at(1, 8), rules: skip, use: "skip" },
  { name: "the tenth in a row", tail: overflow, progress: at(1, 9), rules: skip, code: "GRADIENT_NOT_FINITE" },
  { name: "an overflow in float16", tail: overflow, progress: at(2), rules: half, use: "rescale" },
  {
    name: "an overflow at the smallest scale",
    tail: overflow,
    progress: at(1),
    rules: half,
    code: "GRADIENT_NOT_FINITE",
  },
  {
    name: "one to be skipped",
    tail: overflow,
    progress: at(1),
    rules: { ...half, ...{ onNotFinite: "skip" as const } },
    use: "skip",
  },
  {
    name: "a loss in float16, whatever the scale",
    tail: { ...nan, ...overflow },
    progress: at(1024),
    rules: half,
    code: "LOSS_NOT_FINITE",
  },
];

const restore = { ...config, onNotFinite: "restore" as const };
t.test("a step that is to be gone back for is named; when it comes again it is left out", async (t) => {
  const held = stepHeld(nan, 1, "NaN in conv/kernel");
  t.match(judgeStep(held, at(1), restore), { goBack: "step 4: the loss is NaN (NaN in conv/kernel)" });
  t.equal(judgeStep(held, { ...at(1), leftOut: [3] }, restore), "skip");
  t.match(judgeStep(stepHeld(overflow), { ...at(1), leftOut: [2] }, restore), { goBack: /^step 4: the gradient/ });
  const leftOut = Array.from({ length: maxLeftOut }, (_, step) => step + 10);
  t.match(judgeStep(held, { ...at(1), leftOut }, restore), {
    code: "LOSS_NOT_FINITE",
    message: /after 16 other steps/,
  });
});

t.test("a step that was left out before is left out whatever it gives this time", async (t) => {
  t.equal(judgeStep(stepHeld(), { ...at(1), leftOut: [3] }, restore), "skip");
});

for (const { name, tail, progress, rules, use, code } of verdicts)
  t.test(`${name}: ${use ?? code}`, async (t) => {
    const verdict = judgeStep(stepHeld(tail, 1, "NaN in conv/kernel"), progress, rules);
    if (use !== undefined) t.equal(verdict, use);
    else
      t.match(verdict, {
        code,
        message: /^step 4: the (loss|gradient) .*NaN in conv\/kernel.*checkpoints are from before it$/,
      });
  });
