import { DataError } from "./data-error.ts";
import type { Examples, ImageShape } from "./dataset.ts";
import { idOutOfRange } from "./normalise.ts";

export interface CollateOptions {
  readonly examples: Examples;
  readonly imageShape: ImageShape;
  /** Which examples, in the order in which they shall lie. */
  readonly ids: Uint32Array;
  /** Of `pixelTable`. */
  readonly table: Float32Array; // [channels * 256]
  /** Written from its start; may be longer, the rest stays as it is. */
  readonly images: Float32Array; // [ids, height, width, channels]
  /** Written from its start; may be longer, the rest stays as it is. */
  readonly labels: Int32Array; // [ids]
}

/**
 * Gathers examples into a batch and normalises them, into memory that the caller owns.
 *
 * @throws DataError ID_OUT_OF_RANGE, SHAPE_MISMATCH; what was written before an id out of range stays written
 */
export function collate({ examples, imageShape, ids, table, images, labels }: CollateOptions): void {
  const channels = imageShape[2];
  const imageBytes = imageShape[0] * imageShape[1] * channels;
  requireLength(
    "pixels in the examples",
    examples.images.length === examples.count * imageBytes,
    examples.count * imageBytes,
    examples.images.length,
  );
  requireLength("values in the pixel table", table.length === 256 * channels, 256 * channels, table.length);
  requireLength(
    "or more floats of room for images",
    images.length >= ids.length * imageBytes,
    ids.length * imageBytes,
    images.length,
  );
  requireLength("or more integers of room for labels", labels.length >= ids.length, ids.length, labels.length);

  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] as number;
    if (id >= examples.count) throw idOutOfRange(id, examples.count);
    labels[i] = examples.labels[id] as number;
    if (channels === 1) copyGrey(examples.images, id * imageBytes, table, images, i * imageBytes, imageBytes);
    else copyChannels(examples.images, id * imageBytes, table, images, i * imageBytes, imageBytes, channels);
  }
}

function copyGrey(
  from: Uint8Array,
  first: number,
  table: Float32Array,
  to: Float32Array,
  at: number,
  length: number,
): void {
  for (let i = 0; i < length; i++) to[at + i] = table[from[first + i] as number] as number;
}

function copyChannels(
  from: Uint8Array,
  first: number,
  table: Float32Array,
  to: Float32Array,
  at: number,
  length: number,
  channels: number,
): void {
  for (let pixel = 0; pixel < length; pixel += channels) {
    for (let channel = 0; channel < channels; channel++) {
      const i = pixel + channel;
      to[at + i] = table[256 * channel + (from[first + i] as number)] as number;
    }
  }
}

function requireLength(of: string, right: boolean, expected: number, found: number): void {
  if (!right) throw new DataError("SHAPE_MISMATCH", `expected ${expected} ${of}, found ${found}`);
}
