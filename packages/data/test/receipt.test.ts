import fc from "fast-check";
import t from "tap";
import { createSampler, expectedReceipt, MOST_BATCH_SAMPLES, type Receipt, receiptLimbs } from "../src/index.ts";

const RUNS = 3000;

/** A batch of distinct ids, in some order, and its step. */
const batches = fc.record({
  step: fc.nat(2 ** 31),
  ids: fc.uniqueArray(fc.nat(2 ** 32 - 1), { minLength: 2, maxLength: 64 }).map((ids) => Uint32Array.from(ids)),
  at: fc.nat(),
  other: fc.nat(),
});

const add = (a: Receipt, b: Receipt): Receipt => [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]];
const equal = (a: Receipt, b: Receipt) => a.every((limb, i) => limb === b[i]);

/** Two different places in a batch. */
function places(ids: Uint32Array, at: number, other: number): [number, number] {
  const i = at % ids.length;
  return [i, (i + 1 + (other % (ids.length - 1))) % ids.length];
}

t.test("the bits of receipts do not change", async (t) => {
  // mmh3 (Python) of struct.pack("<qII", step, slot, id), its bytes summed.
  t.same(receiptLimbs(1200, 32, Uint32Array.of(5, 0, 4, 1, 9, 2, 1, 3)), [678, 1150, 1065, 1478]);
  t.same(
    expectedReceipt(
      7,
      Uint32Array.from({ length: 65_536 }, (_, i) => i),
    ),
    [8_323_992, 8_364_756, 8_342_717, 8_359_127],
  );
  const [a, b, c, d] = receiptLimbs(2 ** 40 + 5, 65_535, Uint32Array.of(2 ** 32 - 1));
  t.equal(a + 256 * b + 65_536 * c + 16_777_216 * d, 944_322_011);
});

t.test("the seats' receipts add up to the batch's, in float32 and in any order", async () => {
  fc.assert(
    fc.property(
      fc.nat(1000),
      fc.integer({ min: 1, max: 500 }),
      fc.nat(),
      fc.boolean(),
      (step, batchSize, share, backwards) => {
        const sampleIds = Uint32Array.from({ length: 700 }, (_, i) => i);
        const seats = 1 + (share % batchSize);
        const sampler = createSampler({ seed: 3, sampleIds, batchSize, seats });
        const batch = sampler.batch(step);
        const order = Array.from({ length: seats }, (_, seat) => (backwards ? seats - 1 - seat : seat));
        const sums = new Float32Array(4);
        for (const seat of order) {
          const { first, end } = sampler.seatSlots(step, seat);
          receiptLimbs(step, first, batch.subarray(first, end)).forEach((limb, i) => {
            sums[i] = (sums[i] ?? 0) + limb;
          });
        }
        return expectedReceipt(step, batch).every((limb, i) => limb === sums[i]);
      },
    ),
    { numRuns: 200 },
  );
});

const faults: readonly (readonly [
  name: string,
  delivered: (step: number, ids: Uint32Array, i: number, j: number) => Receipt,
])[] = [
  [
    "a sample left out",
    (step, ids, i) => add(receiptLimbs(step, 0, ids.subarray(0, i)), receiptLimbs(step, i + 1, ids.subarray(i + 1))),
  ],
  [
    "a sample left out, the others moved up",
    (step, ids, i) =>
      receiptLimbs(
        step,
        0,
        ids.filter((_, slot) => slot !== i),
      ),
  ],
  ["a sample in another's place, so used twice", (step, ids, i, j) => receiptLimbs(step, 0, ids.with(i, ids[j] ?? 0))],
  [
    "a sample's slot worked twice",
    (step, ids, i) => add(receiptLimbs(step, 0, ids), receiptLimbs(step, i, ids.subarray(i, i + 1))),
  ],
  [
    "two samples in each other's slots",
    (step, ids, i, j) => receiptLimbs(step, 0, ids.with(i, ids[j] ?? 0).with(j, ids[i] ?? 0)),
  ],
  ["the step before", (step, ids) => receiptLimbs(step - 1, 0, ids)],
  ["the step after", (step, ids) => receiptLimbs(step + 1, 0, ids)],
  [
    "one sample of the step before",
    (step, ids, i) => {
      const rest = add(receiptLimbs(step, 0, ids.subarray(0, i)), receiptLimbs(step, i + 1, ids.subarray(i + 1)));
      return add(rest, receiptLimbs(step - 1, i, ids.subarray(i, i + 1)));
    },
  ],
  ["everything one slot on", (step, ids) => receiptLimbs(step, 1, ids)],
  ["one bit of an id wrong", (step, ids, i, j) => receiptLimbs(step, 0, ids.with(i, (ids[i] ?? 0) ^ (1 << (j % 32))))],
];

for (const [name, delivered] of faults) {
  t.test(`found: ${name}`, async () => {
    fc.assert(
      fc.property(batches, ({ step, ids, at, other }) => {
        const [i, j] = places(ids, at, other);
        return !equal(delivered(step, ids, i, j), expectedReceipt(step, ids));
      }),
      { numRuns: RUNS },
    );
  });
}

t.test("65,536 samples stay exact in float32, one more is refused", async (t) => {
  const most = new Uint32Array(MOST_BATCH_SAMPLES);
  t.ok(255 * MOST_BATCH_SAMPLES < 2 ** 24);
  t.ok(expectedReceipt(1, most).every((limb) => limb === Math.fround(limb)));
  const message = /at most 65536, found 65537/;
  t.throws(() => expectedReceipt(1, new Uint32Array(MOST_BATCH_SAMPLES + 1)), { code: "BATCH_TOO_LARGE", message });
  t.throws(() => receiptLimbs(1, 1, most), { code: "BATCH_TOO_LARGE", message });
});

t.test("a seat without samples adds nothing", async (t) => {
  t.same(receiptLimbs(9, 5, new Uint32Array(0)), [0, 0, 0, 0]);
});
