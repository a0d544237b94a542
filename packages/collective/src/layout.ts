/**
 * Where buckets, chunks and segments lie in a flat buffer of floats.
 *
 * A bucket is cut into as many chunks as there are seats, a pure function of its length and the number of seats, because a chunk's fold
 * order (and so its bits) depends on which chunk it is. A chunk is cut into segments for the links; segments do not touch the arithmetic,
 * so their size is free.
 */
import { CollectiveError } from "./collective-error.ts";

/** Buckets start, and chunks are cut, at multiples of this many floats: 64 bytes, a cache line. */
export const edgeFloats = 16;

/** The most seats that a run may have. */
export const maxSeats = 1024;

/** Buckets in a flat buffer, all in floats. The same in every world of a run. */
export interface BucketLayout {
  readonly seats: number;
  /** In ascending order, not overlapping. `start` is a multiple of 16; `length` is any, 0 included. */
  readonly buckets: readonly { readonly start: number; readonly length: number }[];
}

/** Half-open, in floats. */
export interface FloatRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The floats of `chunk` inside a bucket of `length` floats: [start, end) relative to the bucket. Edges lie at multiples of 16 floats, the
 * last chunk ends at `length`, and chunks may be empty.
 */
export function chunkRange(length: number, chunk: number, seats: number): FloatRange {
  return { start: chunkEdge(length, chunk, seats), end: chunkEdge(length, chunk + 1, seats) };
}

/** The chunk in which the float at `offset` (0 <= offset < length) of a bucket of `length` floats lies. */
export function chunkAt(length: number, offset: number, seats: number): number {
  // the largest c with floor(lines * c / seats) <= line
  const line = Math.floor(offset / edgeFloats);
  return Math.ceil(((line + 1) * seats) / Math.ceil(length / edgeFloats)) - 1;
}

/** How many segments of at most `segmentFloats` a chunk has; an empty chunk has none. */
export function segmentsOf(chunkLength: number, segmentFloats: number): number {
  return Math.ceil(chunkLength / segmentFloats);
}

/** How many floats a flat buffer of this layout needs, rounded up to a multiple of 16. */
export function flatFloats(layout: BucketLayout): number {
  const last = layout.buckets.at(-1);
  return last ? Math.ceil((last.start + last.length) / edgeFloats) * edgeFloats : 0;
}

/** @throws CollectiveError `BAD_LAYOUT` */
export function checkLayout(layout: BucketLayout): void {
  const { seats, buckets } = layout;
  if (!Number.isInteger(seats) || seats < 1 || seats > maxSeats)
    throw new CollectiveError("BAD_LAYOUT", `a layout has 1 to ${maxSeats} seats, not ${seats}`);
  let free = 0;
  for (const [i, { start, length }] of buckets.entries()) {
    if (!Number.isSafeInteger(start) || start < free || start % edgeFloats !== 0)
      throw new CollectiveError(
        "BAD_LAYOUT",
        `bucket ${i} must start at a multiple of ${edgeFloats} floats, at ${free} or later, not at ${start}`,
      );
    if (!Number.isSafeInteger(length) || length < 0)
      throw new CollectiveError(
        "BAD_LAYOUT",
        `bucket ${i} must have a whole number of floats, 0 or more, not ${length}`,
      );
    free = start + length;
  }
}

function chunkEdge(length: number, chunk: number, seats: number): number {
  const lines = Math.ceil(length / edgeFloats);
  return Math.min(length, Math.floor((lines * chunk) / seats) * edgeFloats);
}
