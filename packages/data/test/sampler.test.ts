import fc from "fast-check";
import t from "tap";
import { blocks, createSampler, type SamplerOptions } from "../src/index.ts";

const options = fc
  .record({
    seed: fc.maxSafeInteger(),
    count: fc.integer({ min: 1, max: 200 }),
    batchSize: fc.integer({ min: 1, max: 70 }),
    share: fc.nat(),
  })
  .map(({ seed, count, batchSize, share }): SamplerOptions => {
    // Ids with holes, as a split leaves them.
    const sampleIds = Uint32Array.from({ length: count }, (_, i) => 3 * i + 1);
    return { seed, sampleIds, batchSize, seats: 1 + (share % batchSize) };
  });

const range = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i);

t.test("an epoch has every id once, for any batch size and any number of seats", async () => {
  fc.assert(
    fc.property(options, fc.nat(5), (options, epoch) => {
      const sampler = createSampler(options);
      const steps = range(epoch * sampler.stepsPerEpoch, sampler.stepsPerEpoch);
      const drawn = Uint32Array.from(steps.flatMap((step) => [...sampler.batch(step)])).sort();
      return drawn.length === options.sampleIds.length && drawn.every((id, i) => id === options.sampleIds[i]);
    }),
  );
});

t.test(
  "the seats of a step take its slots in order, each once, none more than one sample more than another",
  async () => {
    fc.assert(
      fc.property(options, fc.nat(300), (options, step) => {
        const sampler = createSampler(options);
        const spans = range(0, options.seats).map((seat) => sampler.seatSlots(step, seat));
        const shares = spans.map(({ first, end }) => end - first);
        return (
          spans.every(({ first }, seat) => first === (spans[seat - 1]?.end ?? 0)) &&
          spans.at(-1)?.end === sampler.batch(step).length &&
          Math.max(...shares) - Math.min(...shares) <= 1
        );
      }),
    );
  },
);

t.test("a batch is a function of the step, whatever was asked before and of whom", async () => {
  fc.assert(
    fc.property(options, fc.array(fc.nat(400), { minLength: 1, maxLength: 12 }), (options, steps) => {
      const one = createSampler(options);
      return steps.every((step) => one.batch(step).join() === createSampler(options).batch(step).join());
    }),
  );
});

t.test("batches do not depend on the number of seats", async () => {
  fc.assert(
    fc.property(options, fc.nat(400), (options, step) => {
      return (
        createSampler({ ...options, seats: 1 })
          .batch(step)
          .join() === createSampler(options).batch(step).join()
      );
    }),
  );
});

t.test("seat shapes are those that an epoch's seats really see, at most four", async (t) => {
  fc.assert(
    fc.property(options, (options) => {
      const sampler = createSampler(options);
      const seen = new Set<number>();
      for (const step of range(0, sampler.stepsPerEpoch)) {
        for (const seat of range(0, options.seats)) {
          const { first, end } = sampler.seatSlots(step, seat);
          if (end > first) seen.add(end - first);
        }
      }
      const shapes = sampler.seatShapes();
      return shapes.length <= 4 && shapes.join() === [...seen].sort((a, b) => b - a).join();
    }),
  );
  const ids = (count: number) => Uint32Array.from(range(0, count));
  const shapes = (count: number, batchSize: number, seats: number) =>
    createSampler({ seed: 1, sampleIds: ids(count), batchSize, seats }).seatShapes();
  t.same(shapes(128, 64, 4), [16]);
  t.same(shapes(114, 64, 6), [11, 10, 9, 8], "four");
  t.same(shapes(66, 64, 4), [16, 1], "the seats without samples do not count");
  t.same(shapes(10, 64, 4), [3, 2], "fewer samples than a batch");
});

t.test("a step's position counts epochs and the shorter last batch", async (t) => {
  const sampler = createSampler({ seed: 1, sampleIds: Uint32Array.from(range(0, 10)), batchSize: 4, seats: 3 });
  t.equal(sampler.stepsPerEpoch, 3);
  t.same(sampler.positionOf(0), { epoch: 0, stepInEpoch: 0, samples: 4 });
  t.same(sampler.positionOf(2), { epoch: 0, stepInEpoch: 2, samples: 2 });
  t.same(sampler.positionOf(3), { epoch: 1, stepInEpoch: 0, samples: 4 });
  t.same(sampler.positionOf(3_000_002), { epoch: 1_000_000, stepInEpoch: 2, samples: 2 });
  t.same(
    [0, 1, 2].map((seat) => sampler.seatSlots(2, seat)),
    [
      { first: 0, end: 0 },
      { first: 0, end: 1 },
      { first: 1, end: 2 },
    ],
  );
});

t.test("epochs and seeds differ in order", async (t) => {
  const sampleIds = Uint32Array.from(range(0, 100));
  const one = createSampler({ seed: 1, sampleIds, batchSize: 100, seats: 4 });
  const two = createSampler({ seed: 2, sampleIds, batchSize: 100, seats: 4 });
  t.equal(new Set([one.batch(0), one.batch(1), one.batch(2), two.batch(0), two.batch(1)].map(String)).size, 5);
});

t.test("neither a batch nor the ids given in can be changed under a sampler", async (t) => {
  const sampleIds = Uint32Array.from(range(0, 10));
  const sampler = createSampler({ seed: 1, sampleIds, batchSize: 4, seats: 2 });
  const before = [...sampler.batch(0)];
  sampler.batch(0).fill(99);
  sampleIds.fill(99);
  t.same([...sampler.batch(0)], before);
  t.notOk(sampler.batch(4).includes(99));
});

t.test("the bits of batches do not change", async (t) => {
  const sampler = createSampler({ seed: 7, sampleIds: Uint32Array.from(range(100, 16)), batchSize: 6, seats: 2 });
  // permutation(16, 2, 7, epoch), whose golden values are of an independent implementation, plus 100.
  t.same([...sampler.batch(0)], [107, 112, 106, 113, 102, 103]);
  t.same([...sampler.batch(2)], [108, 104, 109, 114]);
  t.same([...sampler.batch(3)], [105, 104, 110, 101, 115, 103]);
});

t.test("what cannot be sampled is refused with what to change", async (t) => {
  const sound = { seed: 1, sampleIds: Uint32Array.from(range(0, 100)), batchSize: 16, seats: 4 };
  const refused: readonly (readonly [change: Partial<SamplerOptions>, code: string, says: RegExp])[] = [
    [
      { seats: 20 },
      "TOO_MANY_SEATS",
      /20 seats and 16 samples: lower the seats to at most 16, or raise the batch size to at least 20/,
    ],
    [{ batchSize: 65_537 }, "BATCH_TOO_LARGE", /at most 65536, found 65537/],
    [{ sampleIds: new Uint32Array(0) }, "NO_SAMPLES", /found none/],
    [{ batchSize: 0 }, "BAD_ARGUMENT", /batch size .*found 0/],
    [{ seats: 0 }, "BAD_ARGUMENT", /seats .*found 0/],
    [{ seed: 0.5 }, "BAD_ARGUMENT", /seed .*found 0.5/],
  ];
  for (const [change, code, says] of refused)
    t.throws(() => createSampler({ ...sound, ...change }), { code, message: says });
  const sampler = createSampler(sound);
  t.throws(() => sampler.seatSlots(0, 4), {
    code: "BAD_ARGUMENT",
    message: /a seat must be an integer in \[0, 3\], found 4/,
  });
  t.throws(() => sampler.batch(-1), { code: "BAD_ARGUMENT" });
  t.throws(() => sampler.positionOf(1.5), { code: "BAD_ARGUMENT" });
});

t.test("blocks cover everything once, in order, the last perhaps shorter", async (t) => {
  t.same(blocks(10, 4), [
    { first: 0, end: 4 },
    { first: 4, end: 8 },
    { first: 8, end: 10 },
  ]);
  t.same(blocks(8, 4), [
    { first: 0, end: 4 },
    { first: 4, end: 8 },
  ]);
  t.same(blocks(3, 4), [{ first: 0, end: 3 }]);
  t.same(blocks(0, 4), []);
});

t.test("blocks without a size are refused", async (t) => {
  t.throws(() => blocks(10, 0), { code: "BAD_ARGUMENT" });
  t.throws(() => blocks(-1, 4), { code: "BAD_ARGUMENT" });
});
