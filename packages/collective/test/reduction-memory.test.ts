import fc from "fast-check";
import t from "tap";
import { checkReductionMemory, foldRange } from "../src/reduction-memory.ts";
import { loadSumKernels } from "../src/sum-kernels.ts";
import { roughFloats, seeded } from "./fixtures/random.ts";
import { rankMemory } from "./fixtures/rank-memory.ts";
import { foldInSeatOrder, sameBits } from "./fixtures/seat-order.ts";
import { layoutOf } from "./fixtures/seatings.ts";

t.test("a bucket folded in any ranges has the bits of the seat order, which are the ring's", async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.array(fc.oneof(fc.nat(30), fc.nat(900)), { minLength: 1, maxLength: 3 }),
      fc.nat(),
      fc.constantFrom(0 as const, 1 as const),
      (seats, lengths, seed, parity) => {
        const random = seeded(seed);
        const layout = layoutOf(seats, lengths);
        const all = [...Array(seats).keys()];
        const memory = rankMemory(layout, all);
        const kernels = loadSumKernels(memory.memory);
        for (const seat of all) memory.seat(seat).set(roughFloats(memory.seat(seat).length, random));
        for (const [bucket, { length }] of layout.buckets.entries()) {
          const cuts = Array.from({ length: 4 }, () => Math.floor(random() * (length + 1)));
          const edges = [0, ...cuts, length].sort((a, b) => a - b);
          for (const [i, start] of edges.slice(0, -1).entries())
            foldRange(kernels, memory, layout, parity, bucket, start, edges[i + 1] ?? length);
        }
        const values = all.map((seat) => memory.seat(seat).slice());
        return layout.buckets.every((_, bucket) =>
          sameBits(memory.reduced(parity, bucket).slice(), foldInSeatOrder(layout, bucket, values)),
        );
      },
    ),
    { numRuns: 150 },
  );
});

t.test("a fold longer than a cache block has the same bits", async (t) => {
  const layout = layoutOf(3, [150_001]);
  const memory = rankMemory(layout, [0, 1, 2]);
  const random = seeded(5);
  for (const seat of [0, 1, 2]) memory.seat(seat).set(roughFloats(memory.seat(seat).length, random));
  foldRange(loadSumKernels(memory.memory), memory, layout, 0, 0, 0, 150_001);
  const values = [0, 1, 2].map((seat) => memory.seat(seat).slice());
  t.ok(sameBits(memory.reduced(0, 0).slice(), foldInSeatOrder(layout, 0, values)));
});

t.test("a range outside its bucket is refused", async (t) => {
  const layout = layoutOf(2, [20]);
  const memory = rankMemory(layout, [0, 1]);
  const kernels = loadSumKernels(memory.memory);
  const bad: [number, number, number][] = [
    [0, -1, 5],
    [0, 5, 21],
    [0, 6, 5],
    [1, 0, 1],
    [0, Number.NaN, 5],
  ];
  for (const [bucket, start, end] of bad)
    t.throws(() => foldRange(kernels, memory, layout, 0, bucket, start, end), { code: "MISUSE" });
});

t.test("buffers that do not fit into the memory are refused", async (t) => {
  const layout = layoutOf(2, [20]);
  const memory = rankMemory(layout, [0, 1]);
  checkReductionMemory(memory, layout, [0, 1]);
  const end = memory.memory.buffer.byteLength;
  t.throws(() => checkReductionMemory({ ...memory, seatOffset: () => end - 64 }, layout, [0]), { code: "MISUSE" });
  t.throws(() => checkReductionMemory({ ...memory, seatOffset: () => 4 }, layout, [0]), { code: "MISUSE" });
  t.throws(() => checkReductionMemory({ ...memory, reducedOffset: () => -64 }, layout, []), { code: "MISUSE" });
});
