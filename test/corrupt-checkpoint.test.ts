/** Checkpoints that rot on the disk: each is checked before it is used, the newest good one is, and it is said which were not. */
import { copyFileSync, cpSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import t, { type Test } from "tap";
import { checkLedger } from "./harness/chaos-ledger.ts";
import { RunWatch } from "./harness/chaos-watch.ts";
import { signal } from "./harness/processes.ts";
import { checkCode, checkNoStackTrace, run, start, succeed } from "./harness/ringmaster.ts";
import {
  chaosConfig,
  checkpoint,
  checkpointFolder,
  checkpointSteps,
  newestCheckpoint,
  smallConfig,
  workspace,
} from "./harness/run-files.ts";
import { set, upTo } from "./harness/runs.ts";

const folder = workspace(t);
const original = join(folder, "original");

function flipByte(path: string): void {
  const bytes = readFileSync(path);
  const middle = Math.floor(bytes.length / 2);
  bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}

type Damage = readonly [what: string, damage: (checkpoint: string) => void];
const damages: readonly Damage[] = [
  ["a flipped bit in the parameters", (checkpoint) => flipByte(join(checkpoint, "model.safetensors"))],
  ["a flipped bit in the optimizer's slots", (checkpoint) => flipByte(join(checkpoint, "optimizer.safetensors"))],
  ["a flipped bit in the record", (checkpoint) => flipByte(join(checkpoint, "run.json"))],
  ["a file cut short", (checkpoint) => truncateSync(join(checkpoint, "model.safetensors"), 1000)],
  [
    "files of two steps",
    (checkpoint) =>
      copyFileSync(join(checkpointFolder(original, 10), "model.safetensors"), join(checkpoint, "model.safetensors")),
  ],
];

t.before(() => succeed(t, ["train", smallConfig, "--runs", folder, "--name", "original"]));

function copyOf(name: string): string {
  const copy = join(folder, name);
  cpSync(original, copy, { recursive: true });
  return copy;
}

async function resumeDamaged(t: Test, name: string, damage: (checkpoint: string) => void, ...more: string[]) {
  const copy = copyOf(name);
  damage(checkpointFolder(copy, 15));
  const ended = await run(t, ["resume", copy, ...more]);
  checkCode(t, ended, 0);
  const told = ended.stderr.split("\n").filter((line) => line.includes("checkpoint of step 15 is not used"));
  t.equal(told.length, 1, "it is said, once");
  t.match(ended.stderr, /resumed after step 10/);
  t.same(
    checkpoint(copy, 15),
    checkpoint(original, 15),
    "the steps that were lost are trained again, with the same bits",
  );
}

for (const [index, [what, damage]] of damages.entries()) {
  t.test(`${what}: the checkpoint before is used`, (t) => resumeDamaged(t, `copy-${index}`, damage));
}

t.test("a damaged newest checkpoint on two ranks: the one before is used", (t) =>
  resumeDamaged(t, "ranks", (checkpoint) => flipByte(join(checkpoint, "model.safetensors")), "--ranks", "2"),
);

t.test("all checkpoints damaged: the run cannot go on, and says so", async (t) => {
  const copy = copyOf("all");
  for (const step of checkpointSteps(copy)) flipByte(join(checkpointFolder(copy, step), "model.safetensors"));
  const ended = await run(t, ["resume", copy, "--max-steps", "20"]);
  checkCode(t, ended, 1);
  checkNoStackTrace(t, ended);
  t.match(ended.stderr, /^ringmaster: none of the checkpoints in .* is usable.* \[CHECKPOINT_CORRUPT\]$/m);
});

t.test(
  "a damaged checkpoint that a run needs while it goes on: it goes back to the one before, and says so",
  async (t) => {
    const args = ["--seats", "2", ...set("checkpoint.everySteps", 200)];
    const launch = start(t, ["train", chaosConfig, "--runs", folder, "--name", "live", "--ranks", "2", ...args]);
    const run = join(folder, "live");
    const watch = new RunWatch(run);
    await launch.until("three checkpoints", () => watch.of("saved").length >= 3);
    const workers = launch.processes().filter(({ role }) => role === "worker");
    for (const { pid } of workers) signal(pid, "SIGKILL");
    await launch.until("the loss of both", () => watch.of("lost").length >= 2);
    // What had arrived of a state is on disk by then: another worker takes far longer to start.
    await setTimeout(300);
    const damaged = newestCheckpoint(run);
    flipByte(join(checkpointFolder(run, damaged), "model.safetensors"));
    await launch.line(new RegExp(`checkpoint of step ${damaged} .*going back to the checkpoint of step`));
    const restored = await launch.until("the world to go back", () => watch.of("restored")[0]);
    t.ok((restored.step ?? damaged) < damaged, `from step ${damaged} to ${restored.step}`);
    await launch.until("the same step again", () =>
      watch.of("saved").some((each) => each.step === damaged && each.time > restored.time),
    );
    launch.interrupt();
    const ended = await launch.goneWithin(60_000);
    checkCode(t, ended, 130);
    checkNoStackTrace(t, ended);
    checkLedger(t, run, 2011);
    const last = newestCheckpoint(run);
    await succeed(t, [
      "train",
      chaosConfig,
      "--runs",
      folder,
      "--name",
      "calm",
      "--ranks",
      "1",
      ...args,
      ...upTo(last),
    ]);
    t.same(checkpoint(run, last), checkpoint(join(folder, "calm"), last), "the bits of a run that nobody disturbed");
  },
);
