import type { z } from "zod";
import {
  aboveZero,
  atLeastZero,
  count,
  exactly,
  flag,
  fraction,
  integer,
  oneOf,
  record,
  textLike,
  variants,
} from "./fields.ts";
import {
  maxBatchSize,
  maxBucketBytes,
  maxEpochs,
  maxNameChars,
  maxSeats,
  maxSegmentBytes,
  maxUint32,
  maxValidationBlock,
  minBucketBytes,
  segmentAlignBytes,
} from "./limits.ts";

/** Adam (Kingma and Ba, 2015), with decoupled weight decay (Loshchilov and Hutter, 2019) where `weightDecay` is above 0. */
const adamSchema = record({
  kind: exactly("adam"),
  learningRate: aboveZero(),
  beta1: fraction("excluded"),
  beta2: fraction("excluded"),
  epsilon: aboveZero(),
  weightDecay: atLeastZero(),
});

const sgdSchema = record({
  kind: exactly("sgd"),
  learningRate: aboveZero(),
  momentum: fraction("excluded"),
  nesterov: flag(),
  weightDecay: atLeastZero(),
});

/**
 * The resolved configuration of a run: nothing is left to a default. It crosses the socket in `CoordinatorStart` and is stored in the run's
 * `config.json`; its hash is compared at admission.
 */
export const runConfigSchema = record({
  /** The run's folder is named so. */
  name: textLike(
    /^[A-Za-z0-9][A-Za-z0-9._-]*$/,
    maxNameChars,
    `1 to ${maxNameChars} letters, digits, dots, underscores or hyphens, the first a letter or digit`,
  ),
  seed: integer(0, maxUint32),
  /** Samples of the global batch, over all seats. */
  batchSize: integer(1, maxBatchSize),
  seats: integer(1, maxSeats),
  epochs: integer(1, maxEpochs),
  /** Ends the run after so many steps, if its epochs have not ended it before. */
  maxSteps: integer(1, maxUint32).nullable(),
  optimizer: variants(["adam", "sgd"], [adamSchema, sgdSchema]),
  /** Of a training step's convolutions and products of matrices. Parameters, optimizer and evaluation are float32. */
  precision: oneOf("float32", "bfloat16", "float16"),
  /** Of training step and evaluation: TensorFlow's kernels after Grappler, or XLA. */
  compiler: oneOf("grappler", "xla"),
  /** Parameters are reduced in buckets of about this size. */
  bucketBytes: integer(minBucketBytes, maxBucketBytes),
  /** The unit sent over a link; any size gives the same bits. */
  segmentBytes: integer(segmentAlignBytes, maxSegmentBytes, segmentAlignBytes),
  /** `count` samples (0: no validation), shared out in blocks of `blockSize`. */
  validation: record({ count: count(), blockSize: integer(1, maxValidationBlock) }),
  /** `everySteps` null: none is due by steps; `everyMinutes` null: none by the clock. `keep`: how many of the newest stay, beside the best. */
  checkpoint: record({
    everySteps: integer(1, maxUint32).nullable(),
    everyMinutes: aboveZero().nullable(),
    keep: count(1),
  }),
  /** Ranks compare their state's hash every so many steps. */
  hashEverySteps: integer(1, maxUint32),
  /**
   * What a gradient or a loss that is not finite does, in float16 at the smallest loss scale: end the run; leave out the step's update (10 in a row end the run); or
   * go back to the newest checkpoint, and leave that update out when the step comes again (beyond 16 such steps the run ends).
   */
  onNotFinite: oneOf("stop", "skip", "restore"),
  /** `strict` refuses a world whose ranks have different numerics fingerprints. */
  numerics: oneOf("any", "strict"),
  /** What a rank computes on unless its own command line says otherwise. */
  backend: oneOf("auto", "tensorflow", "portable"),
  device: textLike(/^(?:auto|cpu|gpu(?::(?:0|[1-9]\d{0,2}))?)$/, 7, '"auto" or "cpu" or "gpu" or "gpu:1"'),
  /** A few steps of everything, to see that it runs. */
  fastDevRun: flag(),
}).superRefine(({ seats, batchSize }, context) => {
  if (seats <= batchSize) return;
  context.addIssue({
    code: "custom",
    path: ["seats"],
    input: seats,
    message:
      `expected at most batchSize (${batchSize}) seats, so that each has a sample of every full batch, found ${seats}: ` +
      `set seats to ${batchSize} or fewer, or batchSize to ${seats} or more`,
  });
});

export type RunConfig = z.infer<typeof runConfigSchema>;
export type OptimizerConfig = RunConfig["optimizer"];
