import fc from "fast-check";
import t from "tap";
import { chunkRange } from "../src/layout.ts";
import { type Seating, visits, worldSize } from "../src/schedule.ts";
import { seeded } from "./fixtures/random.ts";
import { layoutOf, seatingOf, someSeating } from "./fixtures/seatings.ts";
import { runWorld, type WorldOptions, type WorldResult } from "./fixtures/virtual-world.ts";

/** Null, or what is wrong with a world that ran to its end. */
function wrongWith({ seating, rounds, layout, segmentFloats }: WorldOptions, result: WorldResult): string | null {
  const { problems, heldRounds, sent } = result;
  if (problems[0] !== undefined) return problems[0];
  if (heldRounds.some((held) => held !== rounds.length - 1)) return `stuck: rounds held ${heldRounds}`;
  const names = new Set<string>();
  for (const { from, kind, round, bucket, chunk, segment } of sent)
    names.add(`${from} ${kind} ${round} ${bucket} ${chunk} ${segment}`);
  // a rank passes on a partial once a visit; a chunk with two visits at a rank only passes it once there, for the last one completes it
  if (names.size !== sent.length) return "something was sent twice";
  let expected = 0;
  for (const bucket of rounds.flat())
    for (let chunk = 0; chunk < layout.seats; chunk++) {
      const { start, end } = chunkRange(layout.buckets[bucket]?.length ?? 0, chunk, layout.seats);
      expected +=
        Math.ceil((end - start) / segmentFloats) * (visits(chunk, seating).length - 1 + worldSize(seating) - 1);
    }
  return sent.length === expected ? null : `${sent.length} messages, expected ${expected}`;
}

t.test("whatever the order of events, all ranks hold all rounds with the bits of the seat order", async (t) => {
  let widestLead = 0;
  fc.assert(
    fc.property(
      fc.record({
        seats: fc.integer({ min: 1, max: 24 }),
        lengths: fc.array(fc.oneof(fc.constant(0), fc.nat(40), fc.nat(600)), { minLength: 1, maxLength: 4 }),
        segmentFloats: fc.integer({ min: 1, max: 100 }).map((n) => (n < 5 ? n * 3 : n * 4)),
        rounds: fc.integer({ min: 1, max: 5 }),
        seed: fc.nat(),
      }),
      ({ seats, lengths, segmentFloats, rounds, seed }) => {
        const random = seeded(seed);
        const layout = layoutOf(seats, [...lengths, 1 + Math.floor(random() * 50)]);
        const tail = lengths.length; // in every round, as the last bucket of a step or validation is
        const options: WorldOptions = {
          seating: someSeating(seats, random),
          layout,
          segmentFloats: Math.max(segmentFloats, 8),
          rounds: Array.from({ length: rounds }, () => [...lengths.keys()].filter(() => random() < 0.6).concat(tail)),
          random,
        };
        const result = runWorld(options);
        widestLead = Math.max(widestLead, result.lead);
        const wrong = wrongWith(options, result);
        if (wrong !== null) throw new Error(`${wrong}; seating ${options.seating}`);
      },
    ),
    {
      numRuns: 300,
      // An empty bucket that is given last.
      examples: [[{ seats: 2, lengths: [17, 0, 481, 17], segmentFloats: 124, rounds: 4, seed: 305152810 }]],
    },
  );
  t.equal(widestLead, 1, "ranks were ahead, by one round at most");
});

const each = (seats: number): Seating => seatingOf(Array<number>(seats).fill(1), 0);
const table: { name: string; seating: Seating; lengths: number[]; segmentFloats: number }[] = [
  { name: "1 seat", seating: each(1), lengths: [100, 0, 7], segmentFloats: 16 },
  { name: "2 seats on 1 rank", seating: [0, 0], lengths: [100, 1], segmentFloats: 16 },
  { name: "2 seats on 2 ranks", seating: each(2), lengths: [1000, 0, 17], segmentFloats: 100 },
  { name: "3 seats on 2 ranks, an arc that wraps", seating: [0, 1, 0], lengths: [1000, 33], segmentFloats: 64 },
  { name: "3 seats on 3 ranks", seating: each(3), lengths: [1000, 1], segmentFloats: 1000 },
  { name: "64 seats on 64 ranks", seating: each(64), lengths: [2000, 5], segmentFloats: 32 },
  { name: "64 seats on 5 ranks", seating: seatingOf([1, 30, 2, 30, 1], 0), lengths: [5000], segmentFloats: 32 },
  { name: "64 seats on 2 ranks, turned", seating: seatingOf([33, 31], 20), lengths: [5000], segmentFloats: 7 },
  { name: "1024 seats on 1024 ranks", seating: each(1024), lengths: [40], segmentFloats: 16 },
  { name: "1024 seats on 1 rank", seating: seatingOf([1024], 0), lengths: [500], segmentFloats: 16 },
  {
    name: "1024 seats on 3 ranks, turned",
    seating: seatingOf([600, 24, 400], 300),
    lengths: [4000],
    segmentFloats: 16,
  },
];
for (const { name, seating, lengths, segmentFloats } of table)
  t.test(`${name}: three rounds end with the same bits`, async (t) => {
    const buckets = [...lengths.keys()];
    const layout = layoutOf(seating.length, lengths);
    const rounds = [buckets, [0], buckets];
    const options = { seating, layout, segmentFloats, rounds, random: seeded(11) };
    t.equal(wrongWith(options, runWorld(options)), null);
  });

t.test("with one seat a rank the ring sends 2 (S - 1) / S of the buffer a rank, the optimum", async (t) => {
  for (const seats of [2, 3, 4, 7, 16]) {
    const floats = 16 * seats * 5;
    const { sent } = runWorld({
      seating: each(seats),
      layout: layoutOf(seats, [floats]),
      segmentFloats: 48,
      rounds: [[0]],
      random: seeded(3),
    });
    for (let rank = 0; rank < seats; rank++) {
      const own = sent.filter(({ from }) => from === rank).reduce((sum, { start, end }) => sum + end - start, 0);
      t.equal(own, (2 * (seats - 1) * floats) / seats, `rank ${rank} of ${seats}`);
    }
  }
});

t.test("a world of one rank sends nothing", async (t) => {
  const { sent, heldRounds } = runWorld({
    seating: [0, 0, 0, 0],
    layout: layoutOf(4, [300]),
    segmentFloats: 16,
    rounds: [[0], [0]],
    random: seeded(4),
  });
  t.equal(sent.length, 0);
  t.same(heldRounds, [1]);
});
