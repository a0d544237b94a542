import { setImmediate as turn } from "node:timers/promises";
import t from "tap";
import { roughFloats, seeded } from "./fixtures/random.ts";
import { foldInSeatOrder, sameBits } from "./fixtures/seat-order.ts";
import { layoutOf } from "./fixtures/seatings.ts";
import { socketWorld } from "./fixtures/socket-world.ts";

const worlds = [
  { name: "one seat each", seating: [0, 1, 2], lengths: [3000, 0, 100], segmentFloats: 256 },
  { name: "an arc that wraps, double visits", seating: [0, 0, 1, 2, 0], lengths: [5000, 77, 1], segmentFloats: 100 },
  { name: "segments of 256 KiB", seating: [2, 0, 0, 1], lengths: [600_000, 1, 16], segmentFloats: 65_536 },
  { name: "two ranks", seating: [0, 1, 1, 1], lengths: [5000, 1, 16], segmentFloats: 512 },
  { name: "one rank", seating: [0, 0, 0], lengths: [5000, 1, 16], segmentFloats: 512 },
];
for (const { name, seating, lengths, segmentFloats } of worlds)
  t.test(`rounds over real sockets end with the bits of the seat order: ${name}`, async (t) => {
    const layout = layoutOf(seating.length, lengths);
    const world = await socketWorld(seating, layout, segmentFloats);
    t.teardown(() => world.stop());
    const random = seeded(9);
    const rounds = [[0, 1, 2], [2], [0, 2], [1, 0, 2], [0, 1, 2]];
    const given = rounds.map(() =>
      seating.map(() =>
        roughFloats(
          layout.buckets.reduce((n, b) => n + b.length + 16, 0),
          random,
        ),
      ),
    );
    const wanted = rounds.map((buckets, round) =>
      buckets.map((bucket) => foldInSeatOrder(layout, bucket, given[round] ?? [])),
    );

    // every rank for itself, at its own pace, as processes do
    const wrong: string[] = [];
    await Promise.all(
      world.ranks.map(async ({ rank, seats, memory, transport, held }) => {
        for (const [round, buckets] of rounds.entries()) {
          for (let i = 0; i < rank * 3; i++) await turn();
          transport.open(round, buckets);
          for (const bucket of buckets) {
            const { start, length } = layout.buckets[bucket] ?? { start: 0, length: 0 };
            for (const seat of seats) {
              memory.seat(seat).set(given[round]?.[seat]?.subarray(start, start + length) ?? [], start);
              transport.ready(round, bucket, seat);
              await turn();
            }
          }
          await held(round);
          for (const [i, bucket] of buckets.entries())
            if (!sameBits(memory.reduced(round, bucket).slice(), wanted[round]?.[i] ?? new Float32Array()))
              wrong.push(`rank ${rank}, round ${round}, bucket ${bucket}`);
        }
        await transport.close();
      }),
    );
    t.same(wrong, []);
    t.same(
      world.ranks.flatMap(({ faults }) => faults),
      [],
      "leaving one after the other is no fault",
    );
    const sent = world.ranks.reduce((sum, { transport }) => sum + transport.counters.bytesSent, 0);
    const received = world.ranks.reduce((sum, { transport }) => sum + transport.counters.bytesReceived, 0);
    t.equal(sent, received);
    t.equal(sent > 0, world.ranks.length > 1);
  });

t.test("a rank that goes while it is needed is a lost link to both neighbours", async (t) => {
  const layout = layoutOf(3, [100]);
  const world = await socketWorld([0, 1, 2], layout, 64);
  t.teardown(() => world.stop());
  const [left, gone, right] = world.ranks;
  if (!left || !gone || !right) throw new Error("three ranks");
  const lost = [left, right].map(({ transport, held }) => {
    transport.open(0, [0]);
    return held(0);
  });
  gone.transport.cut();
  for (const end of lost) await t.rejects(end, { code: "LINK_LOST", peerRank: 1 });
  t.equal(gone.faults.length, 0, "who cuts hears nothing");
});

t.test("a rank that leaves in order before a round fails that round only when it is opened", async (t) => {
  const layout = layoutOf(2, [100]);
  const world = await socketWorld([0, 1], layout, 64);
  t.teardown(() => world.stop());
  const [stays, leaves] = world.ranks;
  if (!stays || !leaves) throw new Error("two ranks");
  await leaves.transport.close();
  t.same(stays.faults, []);
  const round = stays.held(0);
  stays.transport.open(0, [0]);
  await t.rejects(round, { code: "LINK_LOST", peerRank: 1 });
});

t.test("a misused transport fails with MISUSE and throws nothing", async (t) => {
  const layout = layoutOf(1, [100]);
  const world = await socketWorld([0], layout, 64);
  t.teardown(() => world.stop());
  const [only] = world.ranks;
  if (!only) throw new Error("one rank");
  const round = only.held(0);
  only.transport.ready(0, 0, 0);
  await t.rejects(round, { code: "MISUSE", peerRank: undefined });
  only.transport.open(0, [0]);
  only.transport.ready(0, 0, 0);
  await turn();
  t.equal(only.faults.length, 1);
});
