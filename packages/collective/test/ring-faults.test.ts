import t from "tap";
import { createRing, type Ring } from "../src/ring.ts";
import type { RingInput, SumKind } from "../src/ring-messages.ts";
import { layoutOf } from "./fixtures/seatings.ts";

// Ranks 0, 1, 2 on seats 0, 0, 1, 2; bucket 0 has chunks of 16 floats (2 segments each), bucket 1 is empty, bucket 2 has one float, in chunk 3.
// Rank 1 (seat 2): chunk 1 begins here; chunk 2 is completed here; chunks 0 and 3 pass through.
const seating = [0, 0, 1, 2];
const layout = layoutOf(4, [64, 0, 1]);

function ringOf(rank: number): Ring {
  return createRing({ rank, seating, layout, segmentFloats: 8 });
}
const open = (round: number, buckets = [0]): RingInput => ({ type: "open", round, buckets });
const ready = (seat: number, bucket = 0, round = 0): RingInput => ({ type: "ready", round, bucket, seat });
const received = (kind: SumKind, chunk: number, segment = 0, bucket = 0, round = 0): RingInput => ({
  type: "received",
  kind,
  round,
  bucket,
  chunk,
  segment,
});
const summed = (chunk: number, visit: number, segment = 0, round = 0): RingInput => ({
  type: "summed",
  round,
  bucket: 0,
  chunk,
  segment,
  visit,
});

const badPeer: { name: string; rank?: number; before: RingInput[]; bad: RingInput }[] = [
  { name: "a partial comes twice", before: [open(0), received("partial", 3)], bad: received("partial", 3) },
  { name: "a partial comes twice, both early", before: [received("partial", 3)], bad: received("partial", 3) },
  { name: "a partial comes twice, once early", before: [received("partial", 3), open(0)], bad: received("partial", 3) },
  {
    name: "a partial comes again while it is summed",
    before: [open(0), ready(2), received("partial", 3)],
    bad: received("partial", 3),
  },
  {
    name: "a complete comes twice",
    before: [open(0), ready(2), received("partial", 3), summed(3, 1), received("complete", 3)],
    bad: received("complete", 3),
  },
  { name: "a partial comes for a chunk that begins here", before: [open(0)], bad: received("partial", 1) },
  { name: "a complete comes for a chunk that is completed here", before: [open(0)], bad: received("complete", 2) },
  {
    name: "a complete comes before this rank's visit",
    before: [open(0), received("partial", 3)],
    bad: received("complete", 3),
  },
  { name: "a complete comes early", before: [open(0)], bad: received("complete", 3, 0, 0, 1) },
  {
    name: "a partial comes back before it left",
    rank: 0,
    before: [open(0)],
    bad: received("partial", 0),
  },
  { name: "a partial that should come back comes early", rank: 0, before: [], bad: received("partial", 0) },
  { name: "an unknown bucket", before: [open(0)], bad: received("partial", 3, 0, 3) },
  { name: "an empty bucket", before: [open(0, [0, 1])], bad: received("partial", 3, 0, 1) },
  { name: "an unknown chunk", before: [open(0)], bad: received("partial", 4) },
  { name: "a chunk below 0", before: [open(0)], bad: received("partial", -1) },
  { name: "an unknown segment", before: [open(0)], bad: received("partial", 3, 2) },
  { name: "half a segment", before: [open(0)], bad: received("partial", 3, 0.5) },
  { name: "a bucket that is not in the round", before: [open(0)], bad: received("partial", 3, 0, 2) },
  {
    name: "an early bucket turns out not to be in the round",
    before: [received("partial", 3, 0, 2)],
    bad: open(0, [0]),
  },
  { name: "two rounds early", before: [open(0)], bad: received("partial", 3, 0, 0, 2) },
  { name: "a round before any is open", before: [], bad: received("partial", 3, 0, 0, 1) },
  { name: "a round below 0", before: [], bad: received("partial", 3, 0, 0, -1) },
  { name: "no round", before: [open(0)], bad: received("partial", 3, 0, 0, Number.NaN) },
];
for (const { name, rank = 1, before, bad } of badPeer)
  t.test(`${name}: the peer is at fault`, async (t) => {
    const ring = ringOf(rank);
    for (const input of before) t.notOk(ring.handle(input).some(({ type }) => type === "fault"));
    t.match(ring.handle(bad), [{ type: "fault", code: "BAD_PEER", message: `rank ${rank}: ` }]);
    t.same(ring.handle(open(0)), [], "then it says nothing more");
  });

const misuse: { name: string; before: RingInput[]; bad: RingInput }[] = [
  { name: "a round is left out", before: [], bad: open(1) },
  { name: "a round is opened twice", before: [open(0)], bad: open(0) },
  { name: "a round is opened before the one before is held", before: [open(0)], bad: open(1) },
  { name: "a round has an unknown bucket", before: [], bad: open(0, [3]) },
  { name: "a round has a bucket twice", before: [], bad: open(0, [0, 0]) },
  { name: "a round has no buckets", before: [], bad: open(0, []) },
  { name: "a round has no floats", before: [], bad: open(0, [1]) },
  { name: "a seat is ready twice", before: [open(0), ready(2)], bad: ready(2) },
  { name: "a seat is ready in no round", before: [], bad: ready(2) },
  { name: "a seat is ready in the next round", before: [open(0)], bad: ready(2, 0, 1) },
  { name: "a seat is ready with a bucket that is not in the round", before: [open(0)], bad: ready(2, 2) },
  { name: "another rank's seat is ready", before: [open(0)], bad: ready(3) },
  { name: "an unknown seat is ready", before: [open(0)], bad: ready(6) },
  { name: "a sum is done that was not asked for", before: [open(0)], bad: summed(1, 0) },
  { name: "a sum of another visit is done", before: [open(0), ready(2)], bad: summed(1, 1) },
  { name: "a sum is done twice", before: [open(0), ready(2), summed(1, 0)], bad: summed(1, 0) },
  { name: "a sum of another round is done", before: [open(0), ready(2)], bad: summed(1, 0, 0, 2) },
];
for (const { name, before, bad } of misuse)
  t.test(`${name}: the caller is at fault`, async (t) => {
    const ring = ringOf(1);
    for (const input of before) t.notOk(ring.handle(input).some(({ type }) => type === "fault"));
    t.match(ring.handle(bad), [{ type: "fault", code: "MISUSE" }]);
    t.same(ring.handle(open(0)), [], "then it says nothing more");
  });

t.test("an early partial is summed once its round is open and the seat ready", async (t) => {
  const ring = ringOf(1);
  t.same(ring.handle(received("partial", 3)), []);
  t.same(ring.handle(open(0)), []);
  const sums = ring.handle(ready(2));
  t.match(
    sums.map((effect) => (effect.type === "sum" ? [effect.chunk, effect.segment, effect.onto] : effect)),
    [
      [1, 0, false],
      [1, 1, false],
      [3, 0, true],
    ],
  );
});

t.test("a ring of an unfit seating, rank or layout is refused", async (t) => {
  t.throws(() => createRing({ rank: 0, seating: [0, 2], layout: layoutOf(2, [5]), segmentFloats: 8 }), {
    code: "BAD_SEATING",
  });
  t.throws(() => createRing({ rank: 3, seating, layout, segmentFloats: 8 }), { code: "BAD_SEATING" });
  t.throws(() => createRing({ rank: 0, seating: [0, 1], layout: layoutOf(3, [5]), segmentFloats: 8 }), {
    code: "BAD_SEATING",
  });
  t.throws(() => createRing({ rank: 0, seating, layout, segmentFloats: 0.5 }), { code: "BAD_LAYOUT" });
});
