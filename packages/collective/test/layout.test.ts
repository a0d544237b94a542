import fc from "fast-check";
import t from "tap";
import { CollectiveError } from "../src/collective-error.ts";
import { checkLayout, chunkAt, chunkRange, flatFloats, segmentsOf } from "../src/layout.ts";
import { numberPlaces } from "../src/places.ts";
import { layoutOf } from "./fixtures/seatings.ts";

const lengths = fc.oneof(fc.nat(100), fc.nat(100_000), fc.integer({ min: 2 ** 30 - 100, max: 2 ** 30 }));
const seatCounts = fc.integer({ min: 1, max: 1024 });

t.test("chunks follow each other from 0 to the bucket's length and are cut at cache lines", async () => {
  fc.assert(
    fc.property(lengths, seatCounts, (length, seats) => {
      let at = 0;
      for (let chunk = 0; chunk < seats; chunk++) {
        const { start, end } = chunkRange(length, chunk, seats);
        if (start !== at || end < start || (end !== length && end % 16 !== 0)) return false;
        at = end;
      }
      return at === length;
    }),
  );
});

t.test("chunks of a bucket differ by at most one cache line", async () => {
  fc.assert(
    fc.property(fc.nat(10_000), seatCounts, (lines, seats) => {
      const sizes = Array.from({ length: seats }, (_, chunk) => {
        const { start, end } = chunkRange(lines * 16, chunk, seats);
        return end - start;
      });
      return Math.max(...sizes) - Math.min(...sizes) <= 16;
    }),
  );
});

t.test("every float is found in the chunk in which it lies", async () => {
  fc.assert(
    fc.property(
      lengths,
      seatCounts,
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (length, seats, where) => {
        if (length === 0) return true;
        const offset = Math.floor(where * length);
        const { start, end } = chunkRange(length, chunkAt(length, offset, seats), seats);
        return start <= offset && offset < end;
      },
    ),
  );
});

t.test("places are numbered without gaps, and their ranges cover each bucket once", async () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(500), { maxLength: 5 }),
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 70 }),
      (bucketLengths, seats, segmentFloats) => {
        const layout = layoutOf(seats, bucketLengths);
        const places = numberPlaces(layout, segmentFloats);
        let number = 0;
        for (const [bucket, { start, length }] of layout.buckets.entries()) {
          let at = start;
          for (let chunk = 0; chunk < seats; chunk++)
            for (let segment = 0; segment < places.segmentsIn(bucket, chunk); segment++) {
              const range = places.range(bucket, chunk, segment);
              if (places.find(bucket, chunk, segment) !== number++) return false;
              if (range.start !== at || range.end <= at || range.end > at + segmentFloats) return false;
              at = range.end;
            }
          if (at !== start + length) return false;
        }
        return places.count === number;
      },
    ),
  );
});

t.test("what is no place is not found", async (t) => {
  const places = numberPlaces(layoutOf(4, [100, 0]), 16);
  const none: [number, number, number][] = [
    [-1, 0, 0],
    [2, 0, 0],
    [0, -1, 0],
    [0, 4, 0],
    [0, 0, 1],
    [0, 0, -1],
    [0.5, 0, 0],
    [0, 0, Number.NaN],
    [1, 0, 0],
  ];
  for (const [bucket, chunk, segment] of none)
    t.equal(places.find(bucket, chunk, segment), -1, `${bucket} ${chunk} ${segment}`);
  t.throws(() => numberPlaces(layoutOf(4, [100]), 0), { code: "BAD_LAYOUT" });
});

t.test("an empty chunk has no segments", async (t) => {
  t.equal(segmentsOf(0, 16), 0);
  t.equal(segmentsOf(16, 16), 1);
  t.equal(segmentsOf(17, 16), 2);
});

t.test("a flat buffer holds all buckets in whole cache lines", async (t) => {
  t.equal(flatFloats(layoutOf(2, [])), 0);
  t.equal(flatFloats(layoutOf(2, [5, 17])), 16 + 32);
});

t.test("a layout that no ring can use is refused", async (t) => {
  const bad = {
    "no seats": { seats: 0, buckets: [] },
    "too many seats": { seats: 1025, buckets: [] },
    "a start within a cache line": { seats: 2, buckets: [{ start: 8, length: 4 }] },
    "overlapping buckets": { seats: 2, buckets: [{ start: 0, length: 40 }, { start: 32, length: 4 }] }, // biome-ignore format: one case a line
    "a negative length": { seats: 2, buckets: [{ start: 0, length: -1 }] },
    "half a float": { seats: 2, buckets: [{ start: 0, length: 1.5 }] },
  };
  for (const [name, layout] of Object.entries(bad))
    t.throws(() => checkLayout(layout), { name: CollectiveError.name, code: "BAD_LAYOUT" }, name);
});
