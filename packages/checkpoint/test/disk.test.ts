/** Disks that fill up, turn read-only, vanish or lie while a run saves: a save fails, says why, harms nothing, and the next one works. */
import { readdirSync, renameSync, rmSync, statfsSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import t from "tap";
import { CheckpointError, type CheckpointToSave, openCheckpoints } from "../src/index.ts";
import { smallCheckpoint } from "./fixtures/small-checkpoint.ts";
import { mount, noSmallDisk, remount, smallDisk, unmount } from "./fixtures/small-disk.ts";

const skip = noSmallDisk;

function largeCheckpoint(step: number, mebibytes: number): CheckpointToSave {
  const floats = (mebibytes * 2 ** 20) / 4;
  const model = [{ name: "w", shape: [floats], data: new Float32Array(floats).fill(step) }];
  return { ...smallCheckpoint(step), model, optimizer: [] };
}

const namesIn = (run: string) => readdirSync(join(run, "checkpoints")).sort();

t.test(
  "a full disk fails the save, keeps the older checkpoints, and takes the next once there is room",
  { skip },
  async (t) => {
    const disk = smallDisk(t, 4);
    const run = join(disk, "run");
    const store = openCheckpoints(run);
    await store.save(largeCheckpoint(1, 1));
    writeFileSync(join(disk, "somebody-else's"), new Uint8Array(1.5 * 2 ** 20));
    const free = () => statfsSync(disk).bfree;
    const before = free();
    await t.rejects(store.save(largeCheckpoint(2, 2)), {
      code: "DISK_FULL",
      isRetryable: true,
      message: /ENOSPC.*the disk is full: free some space, or keep fewer/,
    });
    t.same(namesIn(run), ["step-00000001"], "no leftovers");
    t.equal(free(), before, "and their space is free again");
    await store.load(1);
    rmSync(join(disk, "somebody-else's"));
    await store.save(largeCheckpoint(2, 2));
    t.same((await store.loadNewest()).checkpoint?.step, 2);
    t.same((await store.loadNewest()).rejected, []);
  },
);

t.test("a replacement that does not fit leaves the one that it should have replaced", { skip }, async (t) => {
  const run = join(smallDisk(t, 4), "run");
  const store = openCheckpoints(run);
  await store.save(smallCheckpoint(1));
  await t.rejects(store.save(largeCheckpoint(1, 5)), { code: "DISK_FULL" });
  t.same((await store.load(1)).record.stateHash, smallCheckpoint(1).record.stateHash);
  t.equal((await store.load(1)).model.length, 2);
});

t.test("a disk that turns read-only fails the save, is still read, and is used again", { skip }, async (t) => {
  const disk = smallDisk(t, 4);
  const store = openCheckpoints(disk);
  for (const step of [1, 2]) await store.save(smallCheckpoint(step));
  remount(disk, "ro");
  await t.rejects(store.save(smallCheckpoint(3)), {
    code: "READ_ONLY",
    isRetryable: true,
    message: /EROFS.*mount it for writing/,
  });
  t.match(await store.retain({ last: 1 }), { removed: [], problem: { code: "READ_ONLY" } }, "told, not thrown");
  t.equal((await store.loadNewest()).checkpoint?.step, 2);
  remount(disk, "rw");
  await store.save(smallCheckpoint(3));
  t.same(await store.retain({ last: 1 }), { removed: [1, 2], problem: null });
});

t.test("a disk that turns read-only in the middle of a save leaves what the next save removes", { skip }, async (t) => {
  const disk = smallDisk(t, 4);
  const store = openCheckpoints(disk);
  await store.save(smallCheckpoint(1));
  // As a save leaves it when the disk refuses to delete too; the name is this process's own.
  renameSync(
    join(disk, "checkpoints", "step-00000001"),
    join(disk, "checkpoints", `.step-00000001.tmp-${process.pid}-0`),
  );
  remount(disk, "ro");
  await t.rejects(store.save(smallCheckpoint(2)), { code: "READ_ONLY" });
  remount(disk, "rw");
  await store.save(smallCheckpoint(2));
  await store.save(smallCheckpoint(3));
  t.same(namesIn(disk), ["step-00000002", "step-00000003"]);
});

t.test("a disk that is unmounted and mounted again, empty, is filled again", { skip }, async (t) => {
  const disk = smallDisk(t, 4);
  const run = join(disk, "runs", "mnist");
  const store = openCheckpoints(run);
  for (const step of [1, 2]) await store.save(smallCheckpoint(step));
  unmount(disk);
  mount(disk, 4);
  await store.save(smallCheckpoint(3));
  t.same(await store.retain({ last: 2, alsoKeep: [1] }), { removed: [], problem: null });
  t.equal((await store.loadNewest()).checkpoint?.step, 3);
});

for (const gone of ["checkpoints", "."]) {
  t.test(`a save goes on where ${gone === "." ? "the run folder" : gone} was deleted meanwhile`, async (t) => {
    const run = join(t.testdir({}), "runs", "mnist");
    const store = openCheckpoints(run);
    for (const step of [1, 2]) await store.save(smallCheckpoint(step));
    rmSync(join(run, gone), { recursive: true });
    t.same(await store.retain({ last: 1 }), { removed: [], problem: null });
    await store.save(smallCheckpoint(3));
    t.same(await store.list(), [3]);
    await store.load(3);
  });
}

/** Removes a folder in which another is writing: what comes while it is emptied is removed with the next try. */
function removeThough(folder: string): void {
  for (;;) {
    try {
      return rmSync(folder, { recursive: true, force: true });
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOTEMPTY")) throw error;
    }
  }
}

t.test(
  "a folder deleted in the middle of a save fails that save or is made again, and the next one works",
  async (t) => {
    const run = join(t.testdir({}), "run");
    const store = openCheckpoints(run);
    for (let turns = 0; turns < 40; turns++) {
      const saving = store.save(smallCheckpoint(turns)).catch((error: unknown) => error);
      for (let turn = 0; turn < turns; turn++) await setImmediate();
      removeThough(run);
      const outcome = await saving;
      if (outcome instanceof Error) t.match(outcome, { name: "CheckpointError", isRetryable: true });
      await store.save(smallCheckpoint(turns));
      await store.load(turns);
    }
  },
);

t.test("what is read back and differs takes no place, and the next save works", async (t) => {
  const run = t.testdir();
  const store = openCheckpoints(run);
  await store.save(smallCheckpoint(1));
  const given = smallCheckpoint(2);
  const saving = store.save(given);
  // The digest is taken at once, the write needs many turns of the loop: what lies between is a memory or a disk that changes bits.
  await setImmediate();
  given.model[0]?.data.fill(9);
  await t.rejects(saving, {
    code: "CHECKPOINT_UNVERIFIED",
    isRetryable: true,
    message: /model\.safetensors was written and read back: expected \d+ bytes with sha256 .*, found .*; save again/,
  });
  t.same(namesIn(run), ["step-00000001"]);
  await store.save(given);
  t.equal((await store.loadNewest()).checkpoint?.step, 2);
});

t.test("a state that is wrong in itself is no better tried again", async (t) => {
  const store = openCheckpoints(t.testdir());
  const { record, ...rest } = smallCheckpoint(1);
  const error = await store.save({ ...rest, record: { ...record, seats: 0 } }).catch((error: unknown) => error);
  t.ok(error instanceof CheckpointError && !error.isRetryable);
});

t.test("the best is never removed, however many are saved after it", async (t) => {
  const store = openCheckpoints(t.testdir());
  let best = 0;
  for (let step = 1; step <= 30; step++) {
    if ([1, 4, 5, 17].includes(step)) best = step;
    await store.save(smallCheckpoint(step));
    t.equal((await store.retain({ last: 2, alsoKeep: [best] })).problem, null);
    t.same(
      await store.list(),
      [...new Set([best, step - 1, step])].filter((kept) => kept > 0).sort((a, b) => a - b),
    );
    await store.load(best);
  }
});

t.test("the only good one stays, though those that this very store saved later were damaged since", async (t) => {
  const run = t.testdir();
  const store = openCheckpoints(run);
  for (const step of [10, 20, 30]) {
    await store.save(smallCheckpoint(step));
    await store.retain({ last: 3 });
  }
  for (const step of [20, 30]) truncateSync(join(run, "checkpoints", `step-000000${step}`, "model.safetensors"), 8);
  t.same(await store.retain({ last: 1 }), { removed: [], problem: null });
  const { checkpoint, rejected } = await store.loadNewest();
  t.equal(checkpoint?.step, 10);
  t.same(
    rejected.map(({ step }) => step),
    [30, 20],
  );
});
