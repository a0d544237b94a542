/** Real compute threads whose seats change while they stay. */
import { join } from "node:path";
import t from "tap";
import { definitionText, lastStepOfEpoch, startSide } from "./fixtures/compute.ts";

// Each thread compiles its sources anew.
t.setTimeout(120_000);
const configPath = join(t.testdir({ "small.config.ts": definitionText }), "small.config.ts");
const allSeats = [0, 1, 2, 3];
const running = await startSide(configPath, 2);
const { side, takeHeard, compute, given, plan, stateHash } = running;
t.teardown(() => side.close());
const seedHash = stateHash();
const busy = { name: "WorkerError", code: "MISUSE" };

/** Of every seat, for the seed's state: what a side that never sat elsewhere gives. */
const fresh = await startSide(configPath, 2);
t.teardown(() => fresh.side.close());
fresh.side.takeSeats(allSeats);
const givenFresh = new Map<number, readonly string[]>();
for (const step of [0, lastStepOfEpoch]) {
  await fresh.compute(step, `step ${step}`);
  givenFresh.set(
    step,
    allSeats.map((seat) => fresh.given(seat)),
  );
}

t.test("there is room for every seat, and nothing is seated or kept after the probe", async (t) => {
  t.equal(side.seatCapacity, 4);
  t.equal(side.probeHash, fresh.side.probeHash, "whoever asks");
  t.throws(() => side.seatOffset(0), busy);
  t.throws(() => side.takeSeats([0, 1, 2, 3, 4]), busy);
  t.equal(side.busyMs(), 0);
  await side.whenIdle();
});

t.test("seats taken, moved to others and back give the bits of a fresh side", async (t) => {
  let tags = 0;
  for (const seats of [[0, 1], [2, 3, 1], [3], allSeats, [2, 0]])
    for (const step of [0, lastStepOfEpoch]) {
      side.takeSeats(seats);
      await compute(step, `move ${tags++}`);
      for (const seat of seats)
        t.equal(given(seat), givenFresh.get(step)?.[seat], `seat ${seat} of ${seats}, step ${step}`);
    }
  t.equal(stateHash(), seedHash);
});

t.test("a kept seat is given without being computed again, with the plan word of now", async (t) => {
  side.takeSeats([0, 1]);
  side.takeTiming();
  takeHeard();
  await compute(0, "a");
  t.same(side.kept("a"), [0, 1]);
  t.same(side.kept("b"), []);
  t.ok(side.takeTiming().computeMs > 0);
  const first = takeHeard().filter((word) => word.startsWith("seat"));
  t.ok(first.includes("seat 0 bucket 0"), "several buckets");
  for (const word of [3, 0]) {
    await compute(0, "a", { plan: word });
    t.same(side.takeTiming(), { dataMs: 0, computeMs: 0, optimizerMs: 0 });
    t.same(takeHeard().sort(), first.sort(), "handed over bucket by bucket as before");
    for (const seat of [0, 1]) {
      t.equal(plan(seat), word);
      t.equal(given(seat), givenFresh.get(0)?.[seat]);
    }
  }
  t.same(side.kept("a"), [0, 1]);

  side.takeSeats([1, 2]);
  t.same(side.kept("a"), [1], "a seat that is taken over is not there yet");
  await compute(0, "a", { plan: 3 });
  t.ok(side.takeTiming().computeMs > 0);
  t.same(side.kept("a"), [1, 2]);
  t.same([plan(1), plan(2)], [3, 3]);
  t.same([given(1), given(2)], givenFresh.get(0)?.slice(1, 3));

  side.takeSeats([0, 3]);
  t.same(side.kept("a"), [0], "it comes back, and nobody had its buffer");
  await compute(lastStepOfEpoch, "b");
  t.same(side.kept("a"), []);
  t.same(side.kept("b"), [0, 3]);
  side.takeSeats([1, 0]);
  t.same(side.kept("a"), [1]);
  t.same(side.kept("b"), [0]);
});

t.test("an evaluation leaves kept gradients as they are", async (t) => {
  side.takeSeats(allSeats);
  await compute(0, "before");
  takeHeard();
  side.takeTiming();
  side.evaluate({ split: "validation", foldInto: 1 });
  await side.whenIdle();
  t.ok(takeHeard().includes("folded"));
  t.ok(side.takeTiming().computeMs > 0);
  t.same(side.kept("before"), allSeats);
  await compute(0, "before", { foldInto: 0 });
  t.equal(side.takeTiming().computeMs, 0);
  t.same(
    allSeats.map((seat) => given(seat)),
    givenFresh.get(0),
  );
});

t.test("seats stay as they are while commands are under way", async (t) => {
  side.takeSeats([0]);
  const idle = compute(0, "busy");
  t.throws(() => side.takeSeats([1]), busy);
  await t.rejects(side.initialise(), busy);
  t.ok(side.busyMs() >= 0);
  t.same(side.kept("busy"), []);
  await idle;
  t.same(side.kept("busy"), [0]);
  t.equal(side.busyMs(), 0);
  side.takeSeats([1]);
});

t.test(
  "commands that are queued are worked in turn, and the last one's gradients are those that are kept",
  async (t) => {
    side.takeSeats([1]);
    compute(0, "first");
    await compute(lastStepOfEpoch, "second");
    t.same([side.kept("first"), side.kept("second")], [[], [1]]);
    t.equal(given(1), givenFresh.get(lastStepOfEpoch)?.[1]);
  },
);

t.test("the seed's state can be written anew after updates", async (t) => {
  side.takeSeats(allSeats);
  takeHeard();
  const update = { optimizerStep: 1, samples: 24, lossScale: 1, parity: 0 } as const;
  for (const tag of ["once", "again"]) {
    await compute(0, tag, { foldInto: 0 });
    side.step({ update, compute: { step: 1, plan: 0, lossScale: 1, foldInto: 1, tag: `${tag}, updated` } });
    await side.whenIdle();
    t.same(
      takeHeard().filter((word) => !word.startsWith("seat")),
      ["folded", "updated", "folded"],
    );
    t.not(stateHash(), seedHash);
    await side.initialise();
    t.equal(stateHash(), seedHash);
  }
  await compute(0, "from the seed");
  t.same(
    allSeats.map((seat) => given(seat)),
    givenFresh.get(0),
  );
});

t.test("a thread that sits on no seat takes its part in an update", async (t) => {
  await side.initialise();
  await compute(0, "all", { foldInto: 0 });
  const update = { optimizerStep: 1, samples: 24, lossScale: 1, parity: 0 } as const;
  side.step({ update, compute: null });
  await side.whenIdle();
  const updated = stateHash();
  await side.initialise();
  side.takeSeats([2]);
  side.step({ update, compute: null });
  await side.whenIdle();
  t.equal(stateHash(), updated);
});

t.test("a thread that fails while another waits for it is told of, and nothing is left waiting", async (t) => {
  // One thread works the only seat and fails, the other is at the fold already, or comes to it later.
  fresh.side.takeSeats([0]);
  fresh.takeHeard();
  await fresh.compute(-1, "no such step", { foldInto: 0 });
  t.same(fresh.takeHeard(), ["failed BAD_ARGUMENT"]);
  t.same(fresh.side.kept("no such step"), []);
  t.equal(fresh.side.busyMs(), 0);
  await fresh.side.close();
  t.same(fresh.takeHeard(), [], "closing is no failure");
});

t.test("a side can be closed in the middle of a step", async (t) => {
  takeHeard();
  side.takeSeats([0]);
  side.step({ update: null, compute: { step: 0, plan: 0, lossScale: 1, foldInto: 0, tag: "never" } });
  const idle = side.whenIdle();
  await side.close();
  await idle;
  t.same(
    takeHeard().filter((word) => word.startsWith("failed")),
    [],
  );
});
