import { DataError } from "./data-error.ts";
import { requireInteger } from "./integer.ts";
import { permutation, STREAM } from "./permutation.ts";

/** Ids into the train examples, each part ascending; together every id once. */
export interface TrainSplit {
  readonly train: Uint32Array;
  readonly validation: Uint32Array;
}

/**
 * Sets `validationCount` of `count` train examples aside, drawn by `seed`. A function of its arguments alone.
 *
 * @throws DataError VALIDATION_TOO_LARGE where nothing would be left to train on
 */
export function splitTrain(count: number, validationCount: number, seed: number): TrainSplit {
  requireInteger("the number of train examples", count, 0, 2 ** 31);
  requireInteger("the number of validation examples", validationCount, 0);
  if (validationCount >= count) {
    const found = `${validationCount} of ${count}`;
    const todo = "lower the number of validation examples";
    throw new DataError(
      "VALIDATION_TOO_LARGE",
      `expected fewer validation than train examples, found ${found}: ${todo}`,
    );
  }
  const order = permutation(count, STREAM.split, seed);
  return { train: order.slice(validationCount).sort(), validation: order.slice(0, validationCount).sort() };
}
