/** How the part of the state that is not tensors moves on; the same on every rank, because it follows from reduced values alone. */
import type { RunConfig, RunProgress, WorkerEvaluated } from "@ringmaster/protocol";
import { afterGoodStep, afterOverflow, initialLossScale } from "./loss-scale.ts";

export const initialProgress: RunProgress = {
  step: 0,
  epoch: 0,
  stepInEpoch: 0,
  optimizerSteps: 0,
  lossScale: initialLossScale("float32"),
  epochSums: { loss: 0, correct: 0, samples: 0 },
  evaluations: [],
  best: null,
  skippedInRow: 0,
  leftOut: [],
};

export const seedProgress = (precision: RunConfig["precision"]): RunProgress => ({
  ...initialProgress,
  lossScale: initialLossScale(precision),
});

interface StepSums {
  readonly loss: number;
  readonly correct: number;
  readonly samples: number;
}

/**
 * - `update`: the optimizer runs.
 * - `rescale`: gradients overflowed in float16: the update is left out, and the loss scale halved.
 * - `skip`: the model or its data gave what is not finite, and the config says to leave such steps out; their sums too, which may be NaN.
 */
export type StepUse = "update" | "rescale" | "skip";

export function afterStep(
  progress: RunProgress,
  sums: StepSums,
  use: StepUse,
  stepsPerEpoch: number,
  precision: RunConfig["precision"],
): RunProgress {
  const isUpdated = use === "update";
  const epochEnds = progress.stepInEpoch + 1 === stepsPerEpoch;
  const { epochSums } = progress;
  const added = use === "skip" ? initialProgress.epochSums : sums;
  return {
    ...progress,
    step: progress.step + 1,
    epoch: progress.epoch + (epochEnds ? 1 : 0),
    stepInEpoch: epochEnds ? 0 : progress.stepInEpoch + 1,
    optimizerSteps: progress.optimizerSteps + (isUpdated ? 1 : 0),
    skippedInRow: use === "skip" ? progress.skippedInRow + 1 : isUpdated ? 0 : progress.skippedInRow,
    lossScale: isUpdated ? afterGoodStep(progress.lossScale, precision) : afterOverflow(progress.lossScale),
    epochSums: epochEnds
      ? initialProgress.epochSums
      : {
          loss: epochSums.loss + added.loss,
          correct: epochSums.correct + added.correct,
          samples: epochSums.samples + added.samples,
        },
  };
}

/** A validation becomes part of the state; the test set's evaluation does not, because when a run is stopped must leave no trace. */
export function afterValidation(progress: RunProgress, evaluation: WorkerEvaluated["evaluation"]): RunProgress {
  const { loss, samples, confusion, classes } = evaluation;
  let correct = 0;
  for (let label = 0; label < classes; label++) correct += confusion[label * classes + label] ?? 0;
  const accuracy = correct / samples;
  const { step, epoch, best } = progress;
  const record = { step, epoch, split: "validation" as const, loss: loss / samples, accuracy, samples };
  return {
    ...progress,
    evaluations: [...progress.evaluations, record],
    best: best === null || accuracy > best.accuracy ? { step, accuracy } : best,
  };
}
