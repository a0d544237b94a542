/**
 * The flat buffers of a run: where each parameter lies, which parameters are reduced together, and the tail. A pure function of the model's shapes, S and
 * `bucketBytes`, the same in every world; its hash is compared at admission, because the fold order, and so the bits, depend on it.
 *
 * A seat's flat buffer, in floats:
 *
 *     [ last parameter | ... | parameter 1 | parameter 0 | tail | evaluation ]
 *       bucket 0 ...                 last training bucket  evaluation bucket
 *
 * The backward pass makes gradients from the model's end to its beginning, so the last parameters lie in front: their bucket is reduced while the rest is
 * still computed. Every part starts at a multiple of 16 floats (64 bytes, a cache line and TensorFlow's alignment); the gaps stay zero.
 */
import { createHash } from "node:crypto";
import { tailFields } from "./tail.ts";

export interface Placed {
  readonly name: string;
  readonly shape: readonly number[];
  /** Floats. */
  readonly size: number;
  /** First float in the flat buffer of parameters (or of statistics). */
  readonly offset: number;
}

export interface Bucket {
  readonly start: number;
  readonly length: number;
}

export interface RunLayout {
  readonly seats: number;
  readonly classes: number;
  /** In the model's order; their offsets fall. */
  readonly parameters: readonly Placed[];
  readonly statistics: readonly Placed[];
  /** Floats of the parameters' flat buffer, gaps included. */
  readonly parameterFloats: number;
  readonly statisticFloats: number;
  /** First float of the tail, which ends the last training bucket. */
  readonly tailStart: number;
  /** All buckets: those of a training step, then the evaluation's. */
  readonly buckets: readonly Bucket[];
  /** Indices of the buckets that a training step reduces. */
  readonly stepBuckets: readonly number[];
  /** The stages that a seat's step is cut into: the buckets that each hands over. */
  readonly stages: readonly (readonly number[])[];
  /** Index of the bucket that an evaluation reduces: [loss, samples, confusion matrix]. */
  readonly evaluationBucket: number;
  /** Floats of a seat's flat buffer. */
  readonly seatFloats: number;
  readonly hash: string;
}

interface Shaped {
  readonly name: string;
  readonly shape: readonly number[];
}

export const align = (floats: number): number => Math.ceil(floats / 16) * 16;

export function createLayout(options: {
  readonly parameters: readonly Shaped[];
  readonly statistics: readonly Shaped[];
  readonly classes: number;
  readonly seats: number;
  readonly bucketBytes: number;
}): RunLayout {
  const { classes, seats, bucketBytes } = options;
  const placed = place(options.parameters.toReversed());
  const parameters = placed.toReversed();
  const statistics = place(options.statistics);
  const statisticFloats = endOf(statistics);
  const tailStart = endOf(placed);
  const evaluationStart = align(tailStart + tailFields + statisticFloats);
  const evaluation = { start: evaluationStart, length: evaluationFields + classes * classes };

  const starts = bucketStarts(placed, bucketBytes / 4);
  const training = starts.map((start, index) => {
    const end = starts[index + 1] ?? tailStart + tailFields + statisticFloats;
    return { start, length: end - start };
  });
  const buckets = [...training, evaluation];
  const stepBuckets = training.map((_, index) => index);
  // A run of one seat never has a ring to hand a bucket to, and a cut costs: docs/decisions/0009.
  const stages = seats === 1 ? [stepBuckets] : stepBuckets.map((bucket) => [bucket]);
  const shapes = { parameters, statistics, buckets, stages, seats, classes };
  return {
    seats,
    classes,
    parameters,
    statistics,
    parameterFloats: tailStart,
    statisticFloats,
    tailStart,
    buckets,
    stepBuckets,
    stages,
    evaluationBucket: training.length,
    seatFloats: align(evaluationStart + evaluation.length),
    hash: createHash("sha256").update(JSON.stringify(shapes)).digest("hex"),
  };
}

/** Loss sum and samples, before the confusion matrix. */
export const evaluationFields = 2;

function place(shaped: readonly Shaped[]): Placed[] {
  let offset = 0;
  return shaped.map(({ name, shape }) => {
    const size = shape.reduce((product, length) => product * length, 1);
    const placed = { name, shape, size, offset };
    offset += align(size);
    return placed;
  });
}

function endOf(placed: readonly Placed[]): number {
  const last = placed.at(-1);
  return last ? align(last.offset + last.size) : 0;
}

/** A bucket is closed once it holds `floats` or more. */
function bucketStarts(parameters: readonly Placed[], floats: number): number[] {
  const starts = [0];
  let start = 0;
  for (const { offset } of parameters) {
    if (offset - start >= floats) {
      start = offset;
      starts.push(start);
    }
  }
  return starts;
}
