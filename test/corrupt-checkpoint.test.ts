/** Checkpoints that rot on the disk: each is checked before it is used, the newest good one is, and it is said which were not. */
import { copyFileSync, cpSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { checkCode, checkNoStackTrace, run, succeed } from "./harness/ringmaster.ts";
import { checkpoint, checkpointFolder, checkpointSteps, smallConfig, workspace } from "./harness/run-files.ts";

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
