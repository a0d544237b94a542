/** Disks that fill up, turn read-only or vanish under the metrics file: training hears nothing of it, no row is torn, there twice or lost unsaid. */
import { appendFileSync, mkdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import {
  formatMetrics,
  type MetricsFile,
  type MetricsFileOptions,
  openMetricsFile,
  readMetrics,
  type StepRecord,
} from "../src/index.ts";
import { cover, mount, noSmallDisk, remount, smallDisk, unmount } from "./fixtures/small-disk.ts";

const skip = noSmallDisk;

function step(step: number): StepRecord {
  const spent = { dataMs: 1, computeMs: 20.25, communicationMs: 3, optimizerMs: 0.5 };
  const batch = { samples: 64, receipt: [8160, 0, 16_320, 7] };
  return {
    type: "step",
    step,
    epoch: 1,
    loss: 0.5,
    accuracy: 0.75,
    learningRate: 0.1,
    imagesPerSecond: 3586,
    ...spent,
    ...batch,
  };
}

const lines = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, k) => `${formatMetrics(step(first + k))}\n`).join("");

function opened(t: Test, path: string, options: MetricsFileOptions = {}) {
  const told: string[] = [];
  const flushed: number[] = [];
  const metrics = openMetricsFile(path, {
    flushMs: 3_600_000,
    onError: ({ message }) => told.push(message),
    onFlushed: (step) => flushed.push(step),
    ...options,
  });
  t.teardown(() => metrics.close());
  return { metrics, told, flushed };
}

function append(metrics: MetricsFile, first: number, last: number): void {
  for (let k = first; k <= last; k++) metrics.append(step(k));
}

t.test("a disk that was full for a while has every row once, whole, and says up to which", { skip }, async (t) => {
  const disk = smallDisk(t, 1);
  const path = join(disk, "metrics.jsonl");
  const { metrics, told, flushed } = opened(t, path);
  append(metrics, 1, 100);
  t.equal(await metrics.flush(), true);
  writeFileSync(join(disk, "somebody-else's"), new Uint8Array(2 ** 20 - 200_000));
  append(metrics, 101, 3_000); // About 700 kB: the disk is full in the middle of a line.
  t.equal(await metrics.flush(), false);
  t.equal(await metrics.flush(), false);
  t.same(flushed, [100]);
  t.match(told, [/ENOSPC.*training goes on/]);
  t.equal(told.length, 1);
  const { records } = await readMetrics(path);
  t.ok(records.length >= 100, "the torn rest does no harm to a reader");
  rmSync(join(disk, "somebody-else's"));
  append(metrics, 3_001, 3_002);
  t.equal(await metrics.flush(), true);
  t.same(flushed, [100, 3_002]);
  t.equal(readFileSync(path, "utf8"), lines(1, 3_002));
  t.same(await metrics.close(), { written: 3_002, lost: 0 });
});

t.test("a disk that is full for good costs the oldest rows, which are counted and said", { skip }, async (t) => {
  const disk = smallDisk(t, 1);
  const path = join(disk, "metrics.jsonl");
  const { metrics, told } = opened(t, path, { maxQueued: 1_000 });
  append(metrics, 1, 10);
  await metrics.flush();
  writeFileSync(join(disk, "somebody-else's"), new Uint8Array(2 ** 20 - 8_192));
  append(metrics, 11, 1_010);
  t.equal(await metrics.flush(), false);
  append(metrics, 1_011, 1_050);
  t.equal(await metrics.flush(), false);
  t.match(told, [/ENOSPC/, /1000 records wait for the disk; the oldest are lost from here on/]);
  rmSync(join(disk, "somebody-else's"));
  t.equal(await metrics.flush(), true);
  t.match(told.slice(2), [/metrics are written again; 40 records are lost/]);
  t.equal(readFileSync(path, "utf8"), lines(1, 10) + lines(51, 1_050));
  t.same(await metrics.close(), { written: 1_010, lost: 40 });
});

t.test("a disk that turns read-only and back misses nothing", { skip }, async (t) => {
  const disk = smallDisk(t, 1);
  const path = join(disk, "metrics.jsonl");
  const { metrics, told } = opened(t, path);
  append(metrics, 1, 5);
  await metrics.flush();
  // The kernel refuses to turn a disk read-only while a file on it is open for writing; after a fault it does not ask. A read-only one takes its place.
  const other = smallDisk(t, 1);
  writeFileSync(join(other, "metrics.jsonl"), lines(1, 5));
  remount(other, "ro");
  cover(disk, other);
  append(metrics, 6, 7);
  t.equal(await metrics.flush(), false);
  t.match(told, [/EROFS/]);
  unmount(disk);
  t.equal(await metrics.flush(), true);
  t.equal(readFileSync(path, "utf8"), lines(1, 7));
});

t.test("a disk that is unmounted takes rows again when it is back", { skip }, async (t) => {
  const disk = smallDisk(t, 1);
  const run = join(disk, "run");
  mkdirSync(run);
  const path = join(run, "metrics.jsonl");
  const { metrics, told, flushed } = opened(t, path);
  append(metrics, 1, 2);
  await metrics.flush();
  unmount(disk);
  append(metrics, 3, 4);
  t.equal(await metrics.flush(), false);
  t.match(told, [/ENOENT/]);
  mount(disk, 1);
  mkdirSync(run);
  t.equal(await metrics.flush(), true);
  t.match(told[1], /removed, replaced or cut while the run went on; its records up to step 2 are gone/);
  t.same(flushed, [2, 4]);
  t.equal(readFileSync(path, "utf8"), lines(3, 4));
});

const VANISHED: [what: string, change: (path: string) => void, after: string][] = [
  ["deleted", (path) => rmSync(path), lines(4, 5)],
  ["moved away", (path) => renameSync(path, `${path}.1`), lines(4, 5)],
  [
    "replaced",
    (path) => [rmSync(path), writeFileSync(`${path}.2`, "{}"), writeFileSync(path, lines(1, 2))],
    lines(1, 2) + lines(4, 5),
  ],
];
for (const [what, change, after] of VANISHED)
  t.test(`a file that was ${what} while it is written is made again, and it is said what is gone`, async (t) => {
    const path = join(t.testdir({}), "metrics.jsonl");
    const { metrics, told } = opened(t, path);
    append(metrics, 1, 3);
    await metrics.flush();
    change(path);
    append(metrics, 4, 5);
    t.equal(await metrics.flush(), true);
    t.match(told, [/the file was removed, replaced or cut while the run went on; its records up to step 3 are gone/]);
    t.equal(readFileSync(path, "utf8"), after);
    t.same(await metrics.close(), { written: 5, lost: 0 });
  });

t.test("the run folder deleted: rows wait until it is there again", async (t) => {
  const folder = join(t.testdir({}), "run");
  mkdirSync(folder);
  const path = join(folder, "metrics.jsonl");
  const { metrics, told, flushed } = opened(t, path);
  append(metrics, 1, 2);
  await metrics.flush();
  rmSync(folder, { recursive: true });
  append(metrics, 3, 4);
  t.equal(await metrics.flush(), false);
  t.match(told, [/ENOENT.*training goes on/]);
  mkdirSync(folder);
  t.equal(await metrics.flush(), true);
  t.same(flushed, [2, 4]);
  t.equal(readFileSync(path, "utf8"), lines(3, 4));
});

t.test("what stands behind the last flush after a failure is written anew, not twice", async (t) => {
  const folder = t.testdir({});
  const path = join(folder, "metrics.jsonl");
  const { metrics } = opened(t, path);
  append(metrics, 1, 2);
  await metrics.flush();
  // A write that failed half way, or a flush that failed after it: the bytes may be there.
  renameSync(path, `${path}.away`);
  mkdirSync(path);
  append(metrics, 3, 4);
  t.equal(await metrics.flush(), false);
  rmSync(path, { recursive: true });
  renameSync(`${path}.away`, path);
  appendFileSync(path, lines(3, 4).slice(0, -7));
  t.equal(await metrics.flush(), true);
  t.equal(readFileSync(path, "utf8"), lines(1, 4));
});

t.test("a file that was cut goes on at a whole line", async (t) => {
  const path = join(t.testdir({}), "metrics.jsonl");
  const { metrics, told } = opened(t, path);
  append(metrics, 1, 3);
  await metrics.flush();
  truncateSync(path, lines(1, 2).length - 5);
  append(metrics, 4, 4);
  t.equal(await metrics.flush(), true);
  t.match(told, [/removed, replaced or cut/]);
  t.equal(readFileSync(path, "utf8"), lines(1, 1) + lines(4, 4));
});
