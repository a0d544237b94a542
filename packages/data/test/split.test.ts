import fc from "fast-check";
import t from "tap";
import { splitTrain } from "../src/index.ts";

t.test("a split has every id once, each part ascending and of its size", async () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 400 }), fc.nat(), fc.maxSafeInteger(), (count, draw, seed) => {
      const validationCount = draw % count;
      const { train, validation } = splitTrain(count, validationCount, seed);
      const ascending = (ids: Uint32Array) => ids.every((id, i) => i === 0 || id > (ids[i - 1] ?? Number.NaN));
      const together = Uint32Array.from([...train, ...validation]).sort();
      return (
        validation.length === validationCount &&
        ascending(train) &&
        ascending(validation) &&
        together.length === count &&
        together.every((id, i) => id === i)
      );
    }),
  );
});

t.test("the seed alone decides which", async (t) => {
  t.same(splitTrain(1000, 100, 7), splitTrain(1000, 100, 7));
  t.notSame(splitTrain(1000, 100, 7).validation, splitTrain(1000, 100, 8).validation);
  t.same(
    [...splitTrain(20, 5, 1).validation],
    [...splitTrain(20, 5, 1).validation].sort((a, b) => a - b),
  );
});

t.test("the bits of a split do not change", async (t) => {
  // From the independent implementation named in permutation.test.ts.
  t.same([...splitTrain(60, 8, 42).validation], [3, 12, 14, 20, 33, 40, 48, 54]);
});

t.test("a split that leaves nothing to train on is refused with both numbers", async (t) => {
  for (const validationCount of [10, 11]) {
    const message = new RegExp(`found ${validationCount} of 10`);
    t.throws(() => splitTrain(10, validationCount, 1), { code: "VALIDATION_TOO_LARGE", message });
  }
  t.throws(() => splitTrain(0, 0, 1), { code: "VALIDATION_TOO_LARGE" });
  t.throws(() => splitTrain(10, -1, 1), { code: "BAD_ARGUMENT" });
});
