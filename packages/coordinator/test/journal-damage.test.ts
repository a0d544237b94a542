import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { JournalError, openJournal } from "../src/journal/journal.ts";
import { journalOf } from "./fixtures/journal-records.ts";

/** A closed journal whose value has overflow pages or fits its page, and whose list of free pages is not empty. */
async function makeJournal(run: string, members: number): Promise<Buffer> {
  const journal = await openJournal(run, { kind: "fresh" });
  for (const count of [1, 400, 2, 300, members]) await journal.write(journalOf(count));
  await journal.close({ remove: false });
  return readFileSync(join(run, "state", "data.mdb"));
}

/** Some bytes of every field of the meta pages and of every page's header, and of the entries, which fill their page from its end. */
function offsetsOf(file: Buffer): number[] {
  const page = 4096;
  const offsets: number[] = [];
  for (let start = 0; start < file.length; start += page) {
    const isMeta = start < 2 * page;
    for (let at = (start / page) % 3; at < (isMeta ? 160 : 26); at += 3) offsets.push(start + at);
    if (!isMeta) for (let at = 1; at < 160; at += 23) offsets.push(start + page - at);
  }
  return offsets;
}

for (const members of [2, 300]) {
  t.test(`a flipped byte is found or harms nothing, with ${members} members`, async (t) => {
    const run = t.testdir();
    const sound = await makeJournal(run, members);
    const path = join(run, "state", "data.mdb");
    const offsets = offsetsOf(sound);
    const outcomes = { refused: 0, unharmed: 0 };
    const wrong: string[] = [];
    for (const [count, offset] of offsets.entries()) {
      const file = Buffer.from(sound);
      const mask = [0xff, 1 << (count % 8)][count % 2] ?? 0;
      file.writeUInt8(file.readUInt8(offset) ^ mask, offset);
      writeFileSync(path, file);
      try {
        const journal = await openJournal(run, { kind: "recover" });
        if (JSON.stringify(journal.found) !== JSON.stringify(journalOf(members))) wrong.push(`${offset}: read`);
        await journal.write({ plans: 100 });
        await journal.close({ remove: false });
        outcomes.unharmed++;
      } catch (error) {
        if (!(error instanceof JournalError) || error.code !== "JOURNAL_CORRUPT") wrong.push(`${offset}: ${error}`);
        outcomes.refused++;
      }
    }
    t.same(wrong, []);
    t.ok(outcomes.refused > 100, JSON.stringify(outcomes));
    t.ok(outcomes.unharmed > 0, "pages that are free may hold anything");
  });
}

t.test("a file that is cut anywhere is found", async (t) => {
  const run = t.testdir();
  const sound = await makeJournal(run, 300);
  const path = join(run, "state", "data.mdb");
  for (const length of [1, 24, 100, 4095, 4096, 4200, 8191, 8192, 12_288]) {
    writeFileSync(path, sound.subarray(0, length));
    await t.rejects(openJournal(run, { kind: "recover" }), { code: "JOURNAL_CORRUPT" }, `${length} bytes`);
  }
  truncateSync(path, 0);
  await t.rejects(openJournal(run, { kind: "recover" }), { code: "JOURNAL_MISSING" });
});

t.test("what is no database at all is found", async (t) => {
  const run = t.testdir({ state: {} });
  const path = join(run, "state", "data.mdb");
  const corrupt = { code: "JOURNAL_CORRUPT", message: /found .*: go on .*`ringmaster resume`/ };
  for (const bytes of [randomBytes(65_536), Buffer.alloc(65_536), Buffer.alloc(65_536, 0xff)]) {
    writeFileSync(path, bytes);
    await t.rejects(openJournal(run, { kind: "recover" }), corrupt);
  }
  truncateSync(path, 2 ** 40);
  await t.rejects(openJournal(run, { kind: "recover" }), corrupt);
  rmSync(path);
  mkdirSync(path);
  await t.rejects(openJournal(run, { kind: "recover" }), corrupt);
});

t.test("garbage in the lock file costs nothing", async (t) => {
  const run = t.testdir();
  await makeJournal(run, 3);
  for (const bytes of [randomBytes(16_384), Buffer.alloc(100, 0xff), Buffer.alloc(0)]) {
    writeFileSync(join(run, "state", "lock.mdb"), bytes);
    const journal = await openJournal(run, { kind: "recover" });
    t.same(journal.found, journalOf(3));
    await journal.write({ plans: 3 });
    await journal.close({ remove: false });
  }
});

t.test("a run that resumes sets a damaged journal aside, says so, and goes on with numbers never used", async (t) => {
  const run = t.testdir();
  const lines: string[] = [];
  const onWaiting = (line: string) => lines.push(line);
  for (const number of [1, 2]) {
    await makeJournal(run, 3);
    writeFileSync(join(run, "state", "data.mdb"), "torn");
    const journal = await openJournal(run, { kind: "fresh", onWaiting });
    t.ok(journal.epoch > 6 && journal.found.usedGeneration > 9 && journal.found.plans > 3);
    t.match(lines.at(-1), `set aside at ${join(run, `state.corrupt-${number}`)}: `);
    await journal.close({ remove: true });
  }
  t.same(readdirSync(run).sort(), ["state.corrupt-1", "state.corrupt-2"]);
});
