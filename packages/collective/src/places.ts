/** Numbers every (bucket, chunk, segment) of a layout, so that what is known of a place fits into a typed array. */
import { CollectiveError } from "./collective-error.ts";
import { type BucketLayout, chunkRange, type FloatRange, segmentsOf } from "./layout.ts";

export interface Places {
  /** How many places there are in all. */
  readonly count: number;
  /** How many places a bucket has. */
  countIn(bucket: number): number;
  /** How many segments a chunk has. */
  segmentsIn(bucket: number, chunk: number): number;
  /** The number of a place, or -1 where there is no such place. */
  find(bucket: number, chunk: number, segment: number): number;
  /** Where an existing place lies in the flat buffer, in floats. */
  range(bucket: number, chunk: number, segment: number): FloatRange;
}

/** `layout` is a checked one. @throws CollectiveError `BAD_LAYOUT` where `segmentFloats` is not a positive whole number. */
export function numberPlaces(layout: BucketLayout, segmentFloats: number): Places {
  if (!Number.isSafeInteger(segmentFloats) || segmentFloats < 1)
    throw new CollectiveError("BAD_LAYOUT", `a segment needs a positive whole number of floats, not ${segmentFloats}`);
  const { seats, buckets } = layout;
  const first = new Uint32Array(buckets.length * seats + 1); // number of the first place of each (bucket, chunk)
  let count = 0;
  for (const [bucket, { length }] of buckets.entries())
    for (let chunk = 0; chunk < seats; chunk++) {
      const { start, end } = chunkRange(length, chunk, seats);
      first[bucket * seats + chunk] = count;
      count += segmentsOf(end - start, segmentFloats);
    }
  first[buckets.length * seats] = count;
  const at = (index: number) => first[index] ?? 0;

  return {
    count,
    countIn: (bucket) => at((bucket + 1) * seats) - at(bucket * seats),
    segmentsIn: (bucket, chunk) => at(bucket * seats + chunk + 1) - at(bucket * seats + chunk),
    find(bucket, chunk, segment) {
      if (!isIndex(bucket, buckets.length) || !isIndex(chunk, seats)) return -1;
      const place = at(bucket * seats + chunk);
      return isIndex(segment, at(bucket * seats + chunk + 1) - place) ? place + segment : -1;
    },
    range(bucket, chunk, segment) {
      const { start: bucketStart, length } = buckets[bucket] ?? { start: 0, length: 0 };
      const { start: chunkStart, end: chunkEnd } = chunkRange(length, chunk, seats);
      const start = chunkStart + segment * segmentFloats;
      return { start: bucketStart + start, end: bucketStart + Math.min(chunkEnd, start + segmentFloats) };
    },
  };
}

function isIndex(value: number, count: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < count;
}
