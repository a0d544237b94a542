import fc from "fast-check";
import t from "tap";
import { arcOf } from "../src/arc.ts";
import { checkSeating, foldOrder, nextRank, previousRank, visits, worldSize } from "../src/schedule.ts";
import { seeded } from "./fixtures/random.ts";
import { allSeatings, layoutOf, someSeating } from "./fixtures/seatings.ts";
import { runWorld } from "./fixtures/virtual-world.ts";

t.test("every seating of up to 8 seats gives the bits of the fold in seat order", async (t) => {
  let tried = 0;
  const wrong: string[] = [];
  for (let seats = 1; seats <= 8; seats++)
    for (const seating of allSeatings(seats)) {
      tried++;
      const layout = layoutOf(seats, [997]);
      const random = seeded(tried);
      const { problems, heldRounds } = runWorld({ seating, layout, segmentFloats: 64, rounds: [[0]], random });
      if (problems.length > 0 || heldRounds.some((held) => held !== 0)) wrong.push(`${seating}: ${problems[0]}`);
    }
  t.same(wrong, []);
  t.equal(tried, 474, "all different ones");
});

t.test("a chunk's visits hold its seats in fold order, each rank once, or first and last", async () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 30 }), fc.nat(), (seats, seed) => {
      const seating = someSeating(seats, seeded(seed));
      const world = worldSize(seating);
      for (let chunk = 0; chunk < seats; chunk++) {
        const found = visits(chunk, seating);
        if (`${found.flatMap((visit) => visit.seats)}` !== `${foldOrder(chunk, seats)}`) return false;
        if (found.at(-1)?.rank !== seating[chunk]) return false;
        if (found.length !== world && !(found.length === world + 1 && found[0]?.rank === found[world]?.rank))
          return false;
      }
      return true;
    }),
  );
});

t.test("a rank's arc tells the same as the visits of all chunks", async () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 24 }), fc.nat(), (seats, seed) => {
      const seating = someSeating(seats, seeded(seed));
      const world = worldSize(seating);
      for (let rank = 0; rank < world; rank++) {
        const arc = arcOf(rank, seating);
        const whole = new Set(arc.wholeChunks);
        for (let chunk = 0; chunk < seats; chunk++) {
          const all = visits(chunk, seating);
          const own = all.flatMap((visit, number) => (visit.rank === rank ? [{ number, seats: visit.seats }] : []));
          if (arc.isCut(chunk) !== (own.length === 2) || whole.has(chunk) === arc.isCut(chunk)) return false;
          if (arc.lastVisit(chunk) !== own.at(-1)?.number) return false;
          if (arc.completes(chunk) !== (all.at(-1)?.rank === rank)) return false;
          if (arc.passesComplete(chunk) !== (world > 1 && all.at(-1)?.rank !== nextRank(rank, world))) return false;
          for (const visit of own) if (`${arc.visitSeats(chunk, visit.number)}` !== `${visit.seats}`) return false;
        }
        if (arc.seats.some((seat, i) => arc.positionOf(seat) !== i)) return false;
        if (arc.positionOf(seats) !== -1 || arc.positionOf(-1) !== -1) return false;
      }
      return true;
    }),
  );
});

t.test("every seating in arcs is accepted", async () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.nat(), (seats, seed) => {
      checkSeating(someSeating(seats, seeded(seed)));
    }),
  );
});

t.test("a seating that is not one arc a rank, ascending, is refused", async (t) => {
  const bad: [string, number[]][] = [
    ["no seats", []],
    ["more than 1024 seats", Array<number>(1025).fill(0)],
    ["a rank is missing", [0, 0, 2]],
    ["rank 0 is missing", [1, 1, 1]],
    ["a rank on two arcs", [0, 1, 0, 1]],
    ["rank 0 on two arcs of three", [0, 1, 0, 2]],
    ["ranks descend", [2, 1, 0]],
    ["a rank below 0", [0, -1]],
    ["half a rank", [0, 0.5]],
    ["no number", [0, Number.NaN]],
  ];
  for (const [name, seating] of bad) t.throws(() => checkSeating(seating), { code: "BAD_SEATING" }, name);
});

t.test("neighbours lie round the ring", async (t) => {
  t.equal(nextRank(2, 3), 0);
  t.equal(previousRank(0, 3), 2);
  t.equal(nextRank(0, 1), 0);
  t.equal(previousRank(0, 1), 0);
});

t.test("a rank without a seat has no arc", async (t) => {
  t.throws(() => arcOf(2, [0, 1]), { code: "BAD_SEATING" });
});
