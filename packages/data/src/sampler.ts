/**
 * Which samples a step works, and which seat works which of them.
 *
 * An epoch is one permutation of the sample ids, drawn by (seed, epoch), cut into batches of `batchSize`; the last may be shorter. A
 * sample's place in its batch is its **slot**. Seat k of S works slots [k b / S, (k + 1) b / S) of a batch of b, rounded down, so the parts
 * differ by at most one sample, and where b < S some seats have none.
 *
 * Everything is a function of the options and the step: nothing remembers what was asked before (an epoch's order is kept only because
 * drawing it anew would be slow), so a resumed run, a second thread and another rank read the same batches.
 */
import { DataError } from "./data-error.ts";
import { requireInteger } from "./integer.ts";
import { permutation, STREAM } from "./permutation.ts";
import { MOST_BATCH_SAMPLES } from "./receipt.ts";

export interface SamplerOptions {
  readonly seed: number;
  /** Ids into the train examples; each is drawn once an epoch for each time that it stands here. Copied. */
  readonly sampleIds: Uint32Array;
  /** Samples in a global batch. */
  readonly batchSize: number;
  /** S, fixed for the whole run. */
  readonly seats: number;
}

/** Where a step stands. */
export interface StepPosition {
  /** From 0. */
  readonly epoch: number;
  /** From 0 to stepsPerEpoch - 1. */
  readonly stepInEpoch: number;
  /** Samples in this step's global batch: `batchSize`, or fewer in an epoch's last step. */
  readonly samples: number;
}

/** Slots [first, end) of a global batch, or numbers [first, end) of anything. */
export interface Span {
  readonly first: number;
  readonly end: number;
}

/** Steps count from 0 across epochs. */
export interface Sampler {
  readonly stepsPerEpoch: number;
  positionOf(step: number): StepPosition;
  /** The sample ids of a step's global batch in slot order. The array is the caller's own. */
  batch(step: number): Uint32Array;
  /** The seat's slots of that step's batch; empty where first equals end. */
  seatSlots(step: number, seat: number): Span;
  /** Every number of samples but 0 that any seat sees in any step, largest first: at most four. */
  seatShapes(): number[];
}

/** Orders kept: a loader that reads ahead is in the next epoch while a step of this one may be retried. */
const ORDERS_KEPT = 2;

/**
 * @throws DataError TOO_MANY_SEATS, BATCH_TOO_LARGE, NO_SAMPLES, BAD_ARGUMENT
 */
export function createSampler(options: SamplerOptions): Sampler {
  const { seed, batchSize, seats } = options;
  check(options);
  const sampleIds = options.sampleIds.slice();
  const count = sampleIds.length;
  const stepsPerEpoch = Math.ceil(count / batchSize);
  const kept: { epoch: number; order: Uint32Array }[] = [];

  function orderOf(epoch: number): Uint32Array {
    const known = kept.find((candidate) => candidate.epoch === epoch);
    if (known !== undefined) return known.order;
    const order = permutation(count, STREAM.epoch, seed, epoch).map((place) => sampleIds[place] as number);
    kept.unshift({ epoch, order });
    kept.length = Math.min(kept.length, ORDERS_KEPT);
    return order;
  }

  function positionOf(step: number): StepPosition {
    requireInteger("a step", step, 0);
    const stepInEpoch = step % stepsPerEpoch;
    const epoch = (step - stepInEpoch) / stepsPerEpoch;
    return { epoch, stepInEpoch, samples: Math.min(batchSize, count - stepInEpoch * batchSize) };
  }

  return {
    stepsPerEpoch,
    positionOf,
    batch(step) {
      const { epoch, stepInEpoch, samples } = positionOf(step);
      const first = stepInEpoch * batchSize;
      return orderOf(epoch).slice(first, first + samples);
    },
    seatSlots(step, seat) {
      requireInteger("a seat", seat, 0, seats - 1);
      const { samples } = positionOf(step);
      return { first: Math.floor((seat * samples) / seats), end: Math.floor(((seat + 1) * samples) / seats) };
    },
    seatShapes() {
      const batches = [positionOf(0).samples, positionOf(stepsPerEpoch - 1).samples];
      const shares = batches.flatMap((samples) => [Math.ceil(samples / seats), Math.floor(samples / seats)]);
      return [...new Set(shares)].filter((share) => share > 0).sort((a, b) => b - a);
    },
  };
}

function check({ seed, sampleIds, batchSize, seats }: SamplerOptions): void {
  requireInteger("the sampler's seed", seed, Number.MIN_SAFE_INTEGER);
  requireInteger("the batch size", batchSize, 1);
  requireInteger("the number of seats", seats, 1);
  if (sampleIds.length === 0) throw new DataError("NO_SAMPLES", "expected at least one sample to train on, found none");
  if (batchSize > MOST_BATCH_SAMPLES) {
    const todo = "lower the batch size";
    throw new DataError(
      "BATCH_TOO_LARGE",
      `expected a batch of at most ${MOST_BATCH_SAMPLES}, found ${batchSize}: ${todo}`,
    );
  }
  if (seats > batchSize) {
    const todo = `lower the seats to at most ${batchSize}, or raise the batch size to at least ${seats}`;
    throw new DataError(
      "TOO_MANY_SEATS",
      `expected no more seats than samples in a batch, found ${seats} seats and ${batchSize} samples: ${todo}`,
    );
  }
}
