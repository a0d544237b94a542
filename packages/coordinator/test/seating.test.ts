import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { defaultSeats, seatRanks } from "../src/seating.ts";

const seatings = [
  { seats: 1, threads: [1], seating: [0] },
  { seats: 4, threads: [4], seating: [0, 0, 0, 0] },
  { seats: 4, threads: [1, 1], seating: [0, 0, 1, 1] },
  { seats: 4, threads: [3, 1], seating: [0, 0, 0, 1] },
  { seats: 4, threads: [1, 3], seating: [0, 1, 1, 1] },
  { seats: 5, threads: [2, 2, 2], seating: [0, 0, 1, 1, 2] },
  { seats: 3, threads: [1000, 1, 1], seating: [0, 1, 2] },
  { seats: 8, threads: [1, 2, 1], seating: [0, 0, 1, 1, 1, 1, 2, 2] },
];
for (const { seats, threads, seating } of seatings)
  t.test(`${seats} seats for ranks of ${threads.join(", ")} threads are seated as ${seating.join("")}`, async (t) => {
    t.same(seatRanks(seats, threads), seating);
  });

const world = fc
  .array(fc.integer({ min: 1, max: 64 }), { minLength: 1, maxLength: 40 })
  .chain((threads) =>
    fc.record({ threads: fc.constant(threads), seats: fc.integer({ min: threads.length, max: 1024 }) }),
  );

t.test(
  "every rank sits on an arc of neighbouring seats, in the order of ranks, and nobody could relieve the busiest",
  async (t) => {
    fc.assert(
      fc.property(world, ({ threads, seats }) => {
        const seating = seatRanks(seats, threads);
        assert.equal(seating.length, seats);
        assert.deepEqual(
          seating,
          seating.toSorted((a, b) => a - b),
          "in order, hence neighbours",
        );
        const own = threads.map((_, rank) => seating.filter((each) => each === rank).length);
        assert.ok(own.every((count) => count >= 1));
        // A rank with one seat cannot be relieved; of the others the busiest counts.
        const load = Math.max(...own.map((count, rank) => (count > 1 ? count / (threads[rank] ?? 0) : 0)));
        for (const [rank, count] of own.entries())
          assert.ok((count + 1) / (threads[rank] ?? 0) >= load, `rank ${rank} would be less busy with one seat more`);
      }),
    );
    t.pass();
  },
);

t.test("a seat a thread gives every rank exactly as many seats as threads", async (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 20 }), (threads) => {
      const seating = seatRanks(
        threads.reduce((sum, count) => sum + count, 0),
        threads,
      );
      assert.deepEqual(
        threads.map((_, rank) => seating.filter((each) => each === rank).length),
        threads,
      );
    }),
  );
  t.pass();
});

t.test("more ranks than seats is refused, with what to change", async (t) => {
  t.throws(() => seatRanks(2, [1, 1, 1]), {
    name: "CoordinatorError",
    code: "MORE_RANKS_THAN_SEATS",
    message: "3 ranks cannot sit on 2 seats: use --seats 3 or more (for a new run), or at most 2 ranks",
  });
});

const defaults = [
  { batchSize: 64, threads: 4, seats: 4, why: "a seat a thread" },
  { batchSize: 64, threads: 16, seats: 8, why: "but 8 samples a seat" },
  { batchSize: 63, threads: 16, seats: 7, why: "at least" },
  { batchSize: 7, threads: 16, seats: 1, why: "and one seat at least" },
  { batchSize: 65_536, threads: 4000, seats: 1024, why: "and as many as a run can have" },
];
for (const { batchSize, threads, seats, why } of defaults)
  t.test(`a batch of ${batchSize} on ${threads} threads has ${seats} seats: ${why}`, async (t) => {
    t.equal(defaultSeats(batchSize, threads), seats);
  });
