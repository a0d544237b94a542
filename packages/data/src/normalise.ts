import { DataError } from "./data-error.ts";
import type { Examples } from "./dataset.ts";
import { requireInteger } from "./integer.ts";

/** A pixel p of channel c becomes (p / 255 - mean[c]) / std[c]. */
export interface Normalisation {
  readonly mean: readonly number[]; // [channels], in units of pixel / 255
  readonly std: readonly number[]; // [channels], likewise, above 0
}

/**
 * Mean and (population) standard deviation of each channel over the named examples.
 *
 * The same bits on every machine and in whatever order ids come: the sums are of integers, below 2^53 for any data that fits in memory,
 * and nothing else is used than + - x / and the square root. A channel of one value gets the deviation 1.
 *
 * @throws DataError NO_SAMPLES, ID_OUT_OF_RANGE, SHAPE_MISMATCH
 */
export function measureNormalisation(examples: Examples, ids: Uint32Array, channels: number): Normalisation {
  requireInteger("the number of channels", channels, 1);
  if (ids.length === 0) throw new DataError("NO_SAMPLES", "expected at least one example to measure, found none");
  const imageBytes = examples.images.length / examples.count;
  if (!Number.isInteger(imageBytes / channels)) {
    throw new DataError(
      "SHAPE_MISMATCH",
      `expected images of ${channels} channels, found ${imageBytes} bytes an image`,
    );
  }
  const pixels = ids.length * (imageBytes / channels);
  const mean: number[] = [];
  const std: number[] = [];
  for (let channel = 0; channel < channels; channel++) {
    const { sum, squares } = sumChannel(examples, ids, imageBytes, channel, channels);
    const average = sum / pixels;
    const variance = Math.max(0, squares / pixels - average * average);
    mean.push(average / 255);
    std.push(variance === 0 ? 1 : Math.sqrt(variance) / 255);
  }
  return { mean, std };
}

/** The squares of so many pixels add up to less than 2^31. */
const mostIn32Bits = 2 ** 15;

function sumChannel(
  { images, count }: Examples,
  ids: Uint32Array,
  imageBytes: number,
  channel: number,
  channels: number,
) {
  let sum = 0;
  let squares = 0;
  for (const id of ids) {
    if (id >= count) throw idOutOfRange(id, count);
    const end = (id + 1) * imageBytes;
    for (let at = id * imageBytes + channel; at < end; ) {
      // In 32 bits, which is four times as fast.
      let partSum = 0;
      let partSquares = 0;
      const partEnd = Math.min(end, at + channels * mostIn32Bits);
      for (; at < partEnd; at += channels) {
        const pixel = images[at] as number;
        partSum = (partSum + pixel) | 0;
        partSquares = (partSquares + Math.imul(pixel, pixel)) | 0;
      }
      sum += partSum;
      squares += partSquares;
    }
  }
  return { sum, squares };
}

/**
 * What each of the 256 values of each channel becomes, rounded to float32 once: `table[256 * channel + pixel]`.
 *
 * @throws DataError BAD_ARGUMENT
 */
export function pixelTable({ mean, std }: Normalisation): Float32Array {
  if (mean.length !== std.length || !mean.every(Number.isFinite) || !std.every((s) => Number.isFinite(s) && s > 0)) {
    const found = `mean [${mean.join(", ")}] and std [${std.join(", ")}]`;
    throw new DataError("BAD_ARGUMENT", `expected a finite mean and a std above 0 for each channel, found ${found}`);
  }
  const table = new Float32Array(256 * mean.length);
  mean.forEach((average, channel) => {
    const deviation = std[channel] as number;
    for (let pixel = 0; pixel < 256; pixel++) table[256 * channel + pixel] = (pixel / 255 - average) / deviation;
  });
  return table;
}

export function idOutOfRange(id: number, count: number): DataError {
  return new DataError("ID_OUT_OF_RANGE", `expected sample ids below ${count} (the number of examples), found ${id}`);
}
