import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { openJournal } from "../src/journal/journal.ts";

// Mostly waiting, for processes and for leases.
t.jobs = 5;

interface Owner {
  readonly process: ChildProcess;
  /** The next line that it prints; null once it has ended. */
  next(): Promise<string | null>;
  ask(generation: number): void;
}

/** Another process that opens a new journal. */
function startOwner(run: string, mode: "endless" | "asked"): Owner {
  const script = fileURLToPath(new URL("./fixtures/journal-owner.js", import.meta.url));
  const owner = spawn(process.execPath, [script, run, mode], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: owner.stdout })[Symbol.asyncIterator]();
  return {
    process: owner,
    next: async () => {
      const { done, value } = await lines.next();
      return done ? null : value;
    },
    ask: (generation) => owner.stdin.write(`${generation}\n`),
  };
}

const killed = "a writer that is killed costs nothing that it called written, and is followed at once";
t.test(killed, { buffered: true }, async (t) => {
  const run = t.testdir();
  const owner = startOwner(run, "endless");
  const exited = once(owner.process, "exit");
  t.equal(await owner.next(), "epoch 1");
  let written = 0;
  for (let line = await owner.next(); line !== null; line = await owner.next()) {
    written = Number(line);
    if (written === 200) owner.process.kill("SIGKILL");
  }
  await exited;
  const journal = await openJournal(run, { kind: "recover", onWaiting: (line) => t.fail(line) });
  t.equal(journal.epoch, 2);
  t.ok(written >= 200);
  const { usedGeneration } = journal.found;
  t.ok(usedGeneration === written || usedGeneration === written + 1, `${usedGeneration} of ${written} called written`);
  await journal.write({ usedGeneration: 1_000_000 });
  await journal.close({ remove: true });
});

const stopped = "a coordinator that lives is left alone; one that was stopped is followed, and fenced when it wakes up";
t.test(stopped, { buffered: true }, async (t) => {
  const run = t.testdir();
  const owner = startOwner(run, "asked");
  const exited = once(owner.process, "exit");
  t.teardown(() => owner.process.kill("SIGKILL"));
  t.equal(await owner.next(), "epoch 1");
  owner.ask(5);
  t.equal(await owner.next(), "5");

  const said: string[] = [];
  const onWaiting = (line: string) => said.push(line);
  const who = `process ${owner.process.pid}`;
  await t.rejects(openJournal(run, { kind: "recover", signal: AbortSignal.abort() }), { name: "AbortError" });
  for (const kind of ["recover", "fresh"] as const) {
    const inUse = { code: "RUN_IN_USE", message: new RegExp(`found ${who} alive: wait`) };
    await t.rejects(openJournal(run, { kind, onWaiting }), inUse, kind);
  }

  owner.process.kill("SIGSTOP");
  const journal = await openJournal(run, { kind: "recover", onWaiting });
  t.match(said, new Array(3).fill(`${who} has this run's journal: waiting 3 s`));
  t.same([journal.epoch, journal.found.usedGeneration], [2, 5]);
  await journal.write({ usedGeneration: 6 });

  owner.process.kill("SIGCONT");
  for (const generation of [7, 8]) {
    owner.ask(generation);
    t.equal(await owner.next(), "FENCED");
  }
  await journal.write({ plans: 1 });
  await journal.close({ remove: false });
  const again = await openJournal(run, { kind: "recover", onWaiting: (line) => t.fail(line) });
  t.same([again.found.usedGeneration, again.found.plans], [6, 1]);
  await again.close({ remove: true });
  owner.ask(9);
  t.equal(await owner.next(), "FENCED", "when the other's run has ended, too");
  owner.process.stdin?.end();
  await exited;
});

/** A run folder with this lease. */
function leasedRun(t: Test, lease: string): string {
  const run = t.testdir({ state: {} });
  writeFileSync(join(run, "state", "lease"), lease);
  return run;
}

/** Of an owner in the middle of a transaction, in another container's pid namespace: whether its process lives cannot be asked. */
function leaseOf(owner: { bootId: string; pid: number }): string {
  const lease = { ...owner, pidNamespace: "pid:[1]", startTime: "456", epoch: 3, beats: 9, isWriting: true };
  return JSON.stringify(lease);
}

t.test("a lease that nobody can read holds nobody up for long", { buffered: true }, async (t) => {
  const said: string[] = [];
  const run = leasedRun(t, "\0\0\0torn");
  const journal = await openJournal(run, { kind: "fresh", onWaiting: (line) => said.push(line) });
  t.match(said, ["another process has this run's journal"]);
  t.match(JSON.parse(readFileSync(join(run, "state", "lease"), "utf8")), { pid: process.pid, epoch: journal.epoch });
  await journal.close({ remove: true });
});

t.test(
  "an owner that was stopped inside a transaction, and so locks the database, is named",
  { buffered: true },
  async (t) => {
    const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    const run = leasedRun(t, leaseOf({ bootId, pid: 123 }));
    const locked = { code: "RUN_IN_USE", message: /process 123 stopped while it writes: end it with `kill -9 123`/ };
    await t.rejects(openJournal(run, { kind: "fresh" }), locked);
  },
);

t.test("an owner from before the machine was started anew is followed at once", { buffered: true }, async (t) => {
  const run = leasedRun(t, leaseOf({ bootId: "another", pid: process.pid }));
  const journal = await openJournal(run, { kind: "fresh", onWaiting: (line) => t.fail(line) });
  await t.rejects(openJournal(run, { kind: "recover" }), { code: "RUN_IN_USE" }, "and holds the lease itself");
  await journal.close({ remove: true });
});
