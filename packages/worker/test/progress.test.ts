import assert from "node:assert/strict";
import { runProgressSchema } from "@ringmaster/protocol";
import fc from "fast-check";
import t from "tap";
import { afterStep, afterValidation, initialProgress } from "../src/progress.ts";
import { evaluationOf } from "./fixtures/messages.ts";

const sums = { loss: 32, correct: 16, samples: 64 };

t.test("an epoch's sums grow until its last step, and start anew with the next epoch", async (t) => {
  const first = afterStep(initialProgress, sums, "update", 3, "float32");
  t.same(first, { ...initialProgress, step: 1, stepInEpoch: 1, optimizerSteps: 1, epochSums: sums });
  const second = afterStep(first, { loss: 1, correct: 2, samples: 3 }, "update", 3, "float32");
  t.same(second.epochSums, { loss: 33, correct: 18, samples: 67 });
  const third = afterStep(second, sums, "update", 3, "float32");
  t.same(third, { ...initialProgress, step: 3, epoch: 1, stepInEpoch: 0, optimizerSteps: 3 });
});

t.test("an epoch of one step ends with every step", async (t) => {
  t.match(afterStep(afterStep(initialProgress, sums, "update", 1, "float32"), sums, "update", 1, "float32"), {
    step: 2,
    epoch: 2,
    stepInEpoch: 0,
  });
});

t.test("the optimizer's own count goes on from where it was", async (t) => {
  t.match(afterStep({ ...initialProgress, step: 9, optimizerSteps: 7 }, sums, "update", 100, "float32"), {
    step: 10,
    optimizerSteps: 8,
  });
});

t.test("after any number of steps the position follows from their number alone", async (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 9 }), (steps, stepsPerEpoch) => {
      let progress = initialProgress;
      for (let step = 0; step < steps; step++) progress = afterStep(progress, sums, "update", stepsPerEpoch, "float32");
      const stepInEpoch = steps % stepsPerEpoch;
      assert.deepEqual(progress, {
        ...initialProgress,
        step: steps,
        epoch: Math.floor(steps / stepsPerEpoch),
        stepInEpoch,
        optimizerSteps: steps,
        epochSums: { loss: 32 * stepInEpoch, correct: 16 * stepInEpoch, samples: 64 * stepInEpoch },
      });
      runProgressSchema.parse(progress);
    }),
  );
  t.pass();
});

t.test("a step that is skipped counts as a step, and adds nothing to the epoch", async (t) => {
  const first = afterStep(initialProgress, sums, "update", 3, "float32");
  const bad = { ...sums, loss: Number.NaN };
  const skipped = afterStep(afterStep(first, bad, "skip", 5, "float32"), bad, "skip", 5, "float32");
  t.same(skipped, { ...first, step: 3, stepInEpoch: 3, skippedInRow: 2 });
  runProgressSchema.parse(skipped);
  t.equal(afterStep(skipped, sums, "update", 5, "float32").skippedInRow, 0);
});

t.test("a validation is remembered as means over its samples", async (t) => {
  const evaluation = {
    split: "validation" as const,
    loss: 30,
    samples: 20,
    classes: 3,
    confusion: [5, 1, 0, 2, 4, 0, 3, 0, 5],
  };
  const progress = afterValidation({ ...initialProgress, step: 5, epoch: 1 }, evaluation);
  const accuracy = 14 / 20;
  t.same(progress.evaluations, [{ step: 5, epoch: 1, split: "validation", loss: 1.5, accuracy, samples: 20 }]);
  t.same(progress.best, { step: 5, accuracy });
});

t.test("the best is the first of the most accurate", async (t) => {
  let progress = initialProgress;
  for (const [step, correct] of [
    [1, 50],
    [2, 70],
    [3, 60],
    [4, 70],
  ] as const)
    progress = afterValidation({ ...progress, step }, evaluationOf("validation", correct));
  t.same(progress.best, { step: 2, accuracy: 0.7 });
  t.same(
    progress.evaluations.map(({ accuracy }) => accuracy),
    [0.5, 0.7, 0.6, 0.7],
  );
});

t.test("progress is never changed in place: a snapshot of it stays", async (t) => {
  const frozen = Object.freeze({ ...initialProgress, evaluations: [] });
  Object.freeze(frozen.evaluations);
  Object.freeze(frozen.epochSums);
  afterValidation(afterStep(frozen, sums, "update", 2, "float32"), evaluationOf("validation", 1));
  t.same(frozen, initialProgress);
});
