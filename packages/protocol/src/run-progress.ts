import type { z } from "zod";
import { aboveZero, atLeastZero, count, finite, fraction, list, oneOf, record, uint32 } from "./fields.ts";
import { maxEvaluations, maxLeftOut } from "./limits.ts";

const evaluationSchema = record({
  /** Steps done when it was made. */
  step: uint32(),
  epoch: count(),
  split: oneOf("validation", "test"),
  /** Mean over the samples. */
  loss: finite(),
  accuracy: fraction("included"),
  samples: count(),
});

/**
 * How far a run is: the part of its state that is not tensors. It is checkpointed as JSON, handed to a joiner and hashed, so every number is
 * finite and nothing in it depends on the world.
 */
export const runProgressSchema = record({
  /** Steps done. */
  step: uint32(),
  /** Epochs done, hence the index of the epoch under way. */
  epoch: count(),
  /** Steps done of the epoch under way. */
  stepInEpoch: uint32(),
  /** The optimizer's own count: it differs from `step` where an update was skipped. */
  optimizerSteps: uint32(),
  /** What float16's losses are multiplied by, and the steps since it changed or overflowed; 1 and 0 in other precisions. */
  lossScale: record({ scale: aboveZero(), goodSteps: uint32() }),
  /** Sums over the samples of the epoch under way. */
  epochSums: record({ loss: finite(), correct: atLeastZero(), samples: count() }),
  evaluations: list(evaluationSchema, 0, maxEvaluations),
  /** The best validation so far. */
  best: record({ step: uint32(), accuracy: fraction("included") }).nullable(),
  /** Steps just done whose updates were left out, one after another, because a loss or gradient was not finite (`onNotFinite: "skip"`). */
  skippedInRow: uint32(),
  /** Steps (done before them) whose updates are left out, because what they gave was not finite and the run went back for it. */
  leftOut: list(uint32(), 0, maxLeftOut),
});

export type RunProgress = z.infer<typeof runProgressSchema>;
export type EvaluationRecord = RunProgress["evaluations"][number];
