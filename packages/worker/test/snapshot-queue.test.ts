import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { initialProgress } from "../src/progress.ts";
import { type Snapshot, SnapshotQueue } from "../src/snapshot-queue.ts";

const size = 64;

function taken(queue: SnapshotQueue, step: number, stateId = `id-${step}`): Snapshot {
  const bytes = queue.buffer(size).fill(step);
  return { step, stateId, progress: { ...initialProgress, step }, bytes, stateHash: "1a", pauseMs: 1 };
}

/** What a test does to a queue; `next` is answered with the step. */
type Act =
  | [what: "add" | "saved" | "rewind", step: number]
  | ["next", number | undefined]
  | ["uploaded" | "interrupted"];

function play(queue: SnapshotQueue, acts: readonly Act[]): void {
  for (const [what, step] of acts) {
    if (what === "next") assert.equal(queue.next()?.step, step);
    else if (what === "add") queue.add(taken(queue, step ?? 0));
    else if (what === "uploaded" || what === "interrupted") queue[what]();
    else queue[what](step ?? 0);
  }
}

t.test("as many as fit are kept", async (t) => {
  const queue = new SnapshotQueue(4 * size);
  for (const step of [1, 2, 3, 4, 5]) queue.add(taken(queue, step));
  t.same(queue.pending, [2, 3, 4, 5]);
});

const cases: [behaviour: string, acts: Act[], pending: number[]][] = [
  ["nothing is due in an empty queue", [["next", undefined]], []],
  [
    "one is uploaded at a time, the oldest first",
    [
      ["add", 1],
      ["add", 2],
      ["next", 1],
      ["next", undefined],
    ],
    [1, 2],
  ],
  [
    "the next follows when one is handed over",
    [["add", 1], ["add", 2], ["next", 1], ["uploaded"], ["next", 2]],
    [1, 2],
  ],
  [
    "what is handed over is kept, and not sent twice",
    [["add", 1], ["next", 1], ["uploaded"], ["next", undefined]],
    [1],
  ],
  ["what is on disk is dropped", [["add", 1], ["next", 1], ["uploaded"], ["saved", 1], ["next", undefined]], []],
  [
    "a newer one on disk makes the older ones needless",
    [
      ["add", 1],
      ["add", 2],
      ["saved", 2],
    ],
    [],
  ],
  [
    "an older one on disk leaves the newer",
    [
      ["add", 2],
      ["add", 3],
      ["saved", 2],
      ["next", 3],
    ],
    [3],
  ],
  [
    "with a third the oldest goes",
    [
      ["add", 1],
      ["add", 2],
      ["add", 3],
      ["next", 2],
    ],
    [2, 3],
  ],
  [
    "with a third the oldest goes, though handed over",
    [["add", 1], ["next", 1], ["uploaded"], ["add", 2], ["add", 3]],
    [2, 3],
  ],
  [
    "what is under way stays when a third comes",
    [["add", 1], ["add", 2], ["next", 1], ["add", 3], ["uploaded"], ["next", 3]],
    [1, 3],
  ],
  ["an upload that was cut off is due again", [["add", 1], ["next", 1], ["interrupted"], ["next", 1]], [1]],
  [
    "what was handed over is due again after a lost connection",
    [["add", 1], ["next", 1], ["uploaded"], ["interrupted"], ["next", 1]],
    [1],
  ],
  [
    "the world went back: later states are gone",
    [
      ["add", 1],
      ["add", 3],
      ["rewind", 2],
      ["next", 1],
    ],
    [1],
  ],
  [
    "the state that the world went back to stays",
    [
      ["add", 2],
      ["rewind", 2],
    ],
    [2],
  ],
  [
    "the upload of a state that is gone ends and the next begins",
    [["add", 3], ["next", 3], ["rewind", 2], ["add", 4], ["next", undefined], ["uploaded"], ["next", 4]],
    [4],
  ],
  [
    "a state saved while it is under way is not due again",
    [["add", 1], ["next", 1], ["saved", 1], ["interrupted"], ["next", undefined]],
    [],
  ],
  ["an upload that nobody began changes nothing", [["add", 1], ["uploaded"], ["next", 1]], [1]],
];
for (const [behaviour, acts, pending] of cases)
  t.test(behaviour, async (t) => {
    const queue = new SnapshotQueue(2 * size);
    play(queue, acts);
    t.same(queue.pending, pending);
  });

t.test(
  "a boundary worked twice keeps the one snapshot, under way as it is; another history's takes its place",
  async (t) => {
    const queue = new SnapshotQueue(2 * size);
    const first = taken(queue, 5);
    queue.add(first);
    t.equal(queue.next(), first);
    queue.add(taken(queue, 5));
    t.equal(queue.next(), undefined, "the first is still under way");
    queue.uploaded();
    t.equal(queue.next(), undefined);
    const other = taken(queue, 5, "another");
    queue.add(other);
    t.same(queue.pending, [5]);
    t.equal(queue.next(), other);
  },
);

t.test("a buffer is used again once its checkpoint is on disk, and one of another size never", async (t) => {
  const queue = new SnapshotQueue(2 * size);
  const first = taken(queue, 1);
  queue.add(first);
  queue.next();
  t.not(queue.buffer(size), first.bytes, "not while it is kept");
  queue.saved(1);
  t.not(queue.buffer(size), first.bytes, "not while it is under way");
  queue.uploaded();
  t.equal(queue.buffer(size), first.bytes);
  t.not(queue.buffer(size), first.bytes, "and to one alone");
  queue.add({ ...taken(queue, 2), bytes: new Uint8Array(8) });
  queue.saved(2);
  t.equal(queue.buffer(size).length, size);
});

t.test(
  "whatever happens, at most two are kept, in order, and nobody writes into a buffer that is kept or read",
  async (t) => {
    const act = fc.oneof(
      fc.constant(["step"] as const),
      fc.constantFrom(["next"] as const, ["uploaded"] as const, ["interrupted"] as const),
      fc.tuple(fc.constantFrom("saved" as const, "rewind" as const), fc.nat({ max: 3 })),
    );
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
        const queue = new SnapshotQueue(2 * size);
        const bytesOf = new Map<number, Uint8Array>();
        let step = 0;
        let reading: Snapshot | undefined;
        for (const [what, back] of acts) {
          if (what === "step") {
            const snapshot = taken(queue, ++step);
            bytesOf.set(step, snapshot.bytes);
            queue.add(snapshot);
          } else if (what === "next") reading = queue.next() ?? reading;
          else if (what === "uploaded" || what === "interrupted") {
            queue[what]();
            reading = undefined;
          } else if (what === "saved") queue.saved(step - back);
          else {
            step = Math.max(0, step - back);
            queue.rewind(step);
          }
          assert.ok(queue.pending.length <= 2);
          assert.deepEqual(
            queue.pending,
            [...queue.pending].sort((a, b) => a - b),
          );
          for (const kept of queue.pending) assert.ok(bytesOf.get(kept)?.every((byte) => byte === kept));
          assert.ok(reading === undefined || reading.bytes.every((byte) => byte === reading?.step));
        }
      }),
      { numRuns: 500 },
    );
    t.pass("holds");
  },
);
