import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { RankSpeeds } from "../src/rank-speeds.ts";
import { defaultSeats, type Sitter, seatRanks } from "../src/seating.ts";
import { proceedingOf } from "./fixtures/core.ts";
import { idOf } from "./fixtures/messages.ts";

const withThreads = (threads: readonly number[], capacity = 1024): Sitter[] =>
  threads.map((speed) => ({ speed, capacity }));

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
    t.same(seatRanks(seats, withThreads(threads)), seating);
  });

t.test(
  "no rank has more seats than fit its memory; where they do not fit all together there is no seating",
  async (t) => {
    const sitters = (capacities: readonly number[]) => capacities.map((capacity) => ({ speed: 1, capacity }));
    t.same(seatRanks(4, sitters([1, 4])), [0, 1, 1, 1]);
    t.same(seatRanks(4, sitters([2, 2])), [0, 0, 1, 1]);
    t.equal(seatRanks(4, sitters([2, 1])), null);
  },
);

const world = fc
  .array(fc.record({ speed: fc.integer({ min: 1, max: 64 }), capacity: fc.integer({ min: 1, max: 100 }) }), {
    minLength: 1,
    maxLength: 40,
  })
  .chain((sitters) =>
    fc.record({ sitters: fc.constant(sitters), seats: fc.integer({ min: sitters.length, max: 1024 }) }),
  );

t.test(
  "every rank sits on an arc of neighbouring seats that fit it, in the order of ranks, and nobody could relieve the busiest",
  async (t) => {
    fc.assert(
      fc.property(world, ({ sitters, seats }) => {
        const seating = seatRanks(seats, sitters);
        const room = sitters.reduce((sum, { capacity }) => sum + capacity, 0);
        assert.equal(seating === null, room < seats);
        if (seating === null) return;
        assert.equal(seating.length, seats);
        assert.deepEqual(
          seating,
          seating.toSorted((a, b) => a - b),
          "in order, hence neighbours",
        );
        const ranks = sitters.map((sitter, rank) => ({
          ...sitter,
          own: seating.filter((each) => each === rank).length,
        }));
        assert.ok(ranks.every(({ own, capacity }) => own >= 1 && own <= capacity));
        // A rank with one seat cannot be relieved; of the others the busiest counts.
        const load = Math.max(...ranks.map(({ own, speed }) => (own > 1 ? own / speed : 0)));
        for (const { own, speed, capacity } of ranks)
          assert.ok(own === capacity || (own + 1) / speed >= load, "it would be less busy with one seat more");
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
        withThreads(threads),
      );
      assert.deepEqual(
        threads.map((_, rank) => seating?.filter((each) => each === rank).length),
        threads,
      );
    }),
  );
  t.pass();
});

t.test("more ranks than seats is refused, with what to change", async (t) => {
  t.throws(() => seatRanks(2, withThreads([1, 1, 1])), {
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

const pair = [0, 1].map((index) => ({ id: idOf(index), threads: 1, capacity: 4 }));
/** Rank 0 takes so long for each of its two seats, rank 1 ten. */
function measured(perSeatMs: number, steps = 16): RankSpeeds {
  const speeds = new RankSpeeds();
  for (let step = 0; step < steps; step++) {
    speeds.add(idOf(0), 2, 2 * perSeatMs);
    speeds.add(idOf(1), 2, 20);
  }
  return speeds;
}

t.test("seats go by measured speed only where that was asked for, and once all ranks are measured", async (t) => {
  t.same(measured(30).seat(4, pair, "speed"), [0, 1, 1, 1]);
  t.same(measured(30).seat(4, pair, "threads"), [0, 0, 1, 1]);
  t.same(measured(30, 15).seat(4, pair, "speed"), [0, 0, 1, 1], "15 steps say nothing yet");
});

t.test("another seating is proposed where it is worth a regrouping, and the last is not too new", async (t) => {
  const record = proceedingOf([0, 1]);
  const propose = (speeds: RankSpeeds, atMs: number) =>
    speeds.betterSeating(record, () => speeds.seat(4, pair, "speed"), atMs);
  const slow = measured(30);
  t.equal(propose(slow, 0), null);
  t.equal(propose(slow, 9_999), null);
  t.match(propose(slow, 10_000), /60 ms a step become 30/);
  const even = measured(11);
  propose(even, 0);
  t.equal(propose(even, 10_000), null, "it gains too little");
  const unmeasured = measured(30, 3);
  propose(unmeasured, 0);
  t.equal(propose(unmeasured, 10_000), null);
});
