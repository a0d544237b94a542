import { closeSync, mkdirSync, openSync, readdirSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { openJournal } from "../src/journal/journal.ts";
import { sharedFileSystem } from "../src/journal/local-disk.ts";
import { noSmallDisk, remount, smallDisk } from "./fixtures/journal-disk.ts";
import { journalOf } from "./fixtures/journal-records.ts";

const empty = { record: null, usedGeneration: 0, checkpoint: null, plans: 0 };

t.test("what was written is found after a restart, by an epoch that is one higher", async (t) => {
  const run = t.testdir();
  const first = await openJournal(run, { kind: "fresh" });
  t.equal(first.epoch, 1);
  t.same(first.found, empty);
  const contents = journalOf(3);
  await Promise.all([first.write({ record: contents.record }), first.write({ usedGeneration: 8, plans: 3 })]);
  await first.write({ checkpoint: contents.checkpoint, usedGeneration: contents.usedGeneration });
  await first.close({ remove: false });
  const second = await openJournal(run, { kind: "recover" });
  t.equal(second.epoch, 2);
  t.same(second.found, contents);
  const record = { kind: "opened", generation: 10, members: contents.record?.members ?? [] } as const;
  await second.write({ record });
  await second.close({ remove: false });
  const third = await openJournal(run, { kind: "recover" });
  t.same([third.epoch, third.found], [3, { ...contents, record }]);
  await third.close({ remove: false });
});

t.test("a run that resumes keeps the numbers that were used, and nothing else", async (t) => {
  const run = t.testdir();
  const before = await openJournal(run, { kind: "fresh" });
  await before.write(journalOf(2));
  await before.close({ remove: false });
  const after = await openJournal(run, { kind: "fresh" });
  t.same([after.epoch, after.found], [2, { ...empty, usedGeneration: 9, plans: 3 }]);
  await after.close({ remove: false });
  const restarted = await openJournal(run, { kind: "recover" });
  t.same(restarted.found, { ...empty, usedGeneration: 9, plans: 3 });
  await restarted.close({ remove: false });
});

t.test("the largest world fits, again and again, into a file that stays small", async (t) => {
  const run = t.testdir();
  const journal = await openJournal(run, { kind: "fresh" });
  for (let count = 0; count < 50; count++) await journal.write(journalOf(count % 2 === 0 ? 1024 : 1));
  await journal.write(journalOf(1024));
  await journal.close({ remove: false });
  const again = await openJournal(run, { kind: "recover" });
  t.same(again.found, journalOf(1024));
  await again.close({ remove: false });
});

t.test("where no coordinator died there is nothing to recover, and nothing is made", async (t) => {
  const run = t.testdir();
  const missing = { code: "JOURNAL_MISSING", message: /ringmaster resume/ };
  await t.rejects(openJournal(run, { kind: "recover" }), missing);
  await t.rejects(openJournal(join(run, "gone"), { kind: "fresh" }), { code: "JOURNAL_UNWRITABLE", message: /ENOENT/ });
  t.same(readdirSync(run), []);
});

t.test("a run that ended in order leaves nothing", async (t) => {
  const run = t.testdir();
  const journal = await openJournal(run, { kind: "fresh" });
  await journal.write(journalOf(2));
  await journal.close({ remove: true });
  t.same(readdirSync(run), []);
  await t.rejects(openJournal(run, { kind: "recover" }), { code: "JOURNAL_MISSING" });
});

t.test("a coordinator whose folder was taken away says so, and cannot write into another's", async (t) => {
  const run = t.testdir();
  const journal = await openJournal(run, { kind: "fresh" });
  rmSync(join(run, "state"), { recursive: true });
  await t.rejects(journal.write({ plans: 1 }), { code: "JOURNAL_UNWRITABLE", message: /ENOENT/ });
  const other = await openJournal(run, { kind: "fresh" });
  await t.rejects(journal.write({ plans: 1 }), { code: "FENCED" });
  await journal.close({ remove: true });
  await other.write({ plans: 2 });
  await other.close({ remove: true });
});

t.test("a file system that machines share is told by its number, a local one is not", async (t) => {
  const numbers: [type: bigint, name: string | null][] = [
    [0x6969n, "NFS"],
    [0x517bn, "SMB"],
    [0xff534d42n, "CIFS"],
    [BigInt.asIntN(32, 0xff534d42n), "CIFS"],
    [BigInt.asUintN(64, BigInt.asIntN(32, 0xfe534d42n)), "SMB2"],
    [0x65735546n, "FUSE"],
    [0x01021997n, "9P"],
    [0x0bd00bd0n, "Lustre"],
    [0x00c36400n, "Ceph"],
    [0x47504653n, "GPFS"],
    [0x19830326n, "BeeGFS"],
    [0xef53n, null], // ext4
    [0x58465342n, null], // XFS
    [0x9123683en, null], // Btrfs
    [0x01021994n, null], // tmpfs
    [0x794c7630n, null], // overlayfs
    [0x2fc12fc1n, null], // ZFS
  ];
  for (const [type, name] of numbers) t.equal(sharedFileSystem(type), name, `0x${type.toString(16)}`);
});

function fill(path: string): void {
  const file = openSync(path, "w");
  try {
    for (;;) writeSync(file, Buffer.alloc(4096));
  } catch (error) {
    t.match(error, { code: "ENOSPC" });
  } finally {
    closeSync(file);
  }
}

const diskTest = "a disk that is full fails the write, costs nothing that was written, and may be tried again";
t.test(diskTest, { skip: noSmallDisk }, async (t) => {
  const disk = smallDisk(t);
  const run = join(disk, "run");
  mkdirSync(run);
  mkdirSync(join(disk, "other"));
  const journal = await openJournal(run, { kind: "fresh" });
  await journal.write(journalOf(3));
  fill(join(disk, "fill"));
  const full = { code: "JOURNAL_UNWRITABLE", message: /\((ENOSPC|EIO)\): .*full/ };
  await t.rejects(journal.write(journalOf(1024)), full);
  await t.rejects(journal.write(journalOf(1024)), full);
  await t.rejects(openJournal(join(disk, "other"), { kind: "fresh" }), full);
  rmSync(join(disk, "fill"));
  await journal.close({ remove: false });
  const again = await openJournal(run, { kind: "recover" });
  t.same(again.found, journalOf(3));
  fill(join(disk, "fill"));
  await t.rejects(again.write(journalOf(1024)), full);
  rmSync(join(disk, "fill"));
  await again.write(journalOf(1000));
  await again.close({ remove: false });
  remount(disk, "ro");
  await t.rejects(openJournal(run, { kind: "recover" }), { code: "JOURNAL_UNWRITABLE", message: /\(EROFS\): / });
  remount(disk, "rw");
  const last = await openJournal(run, { kind: "recover" });
  t.same(last.found, journalOf(1000));
  await last.close({ remove: true });
});
