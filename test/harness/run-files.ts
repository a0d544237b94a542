/** Where tests' runs lie, and what is read of them. */
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Owner } from "./ringmaster.ts";
import { workspaceFolder } from "./workspace-folder.ts";

const testFolder = join(workspaceFolder, "test");

export const smallConfig = join(testFolder, "configs", "small.config.ts");
export const chaosConfig = join(testFolder, "configs", "chaos.config.ts");
export const heavyConfig = join(testFolder, "configs", "heavy.config.ts");
export const exampleConfig = (name: string): string => join(workspaceFolder, "examples", "mnist", name);

/** A folder for this test's runs and configs, gone with it. It lies in the workspace, so that a config in it finds `ringmaster`. */
export function workspace(t: Owner): string {
  const runs = join(testFolder, "runs");
  mkdirSync(runs, { recursive: true });
  const folder = mkdtempSync(join(runs, "test-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export const sha256 = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");

/** Steps that there are checkpoints of, ascending. */
export function checkpointSteps(run: string): number[] {
  const names = entriesOf(join(run, "checkpoints"));
  return names
    .flatMap((name) => /^step-(\d{8})$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

export function newestCheckpoint(run: string): number {
  const newest = checkpointSteps(run).at(-1);
  if (newest === undefined) throw new Error(`there is no checkpoint in ${run}`);
  return newest;
}

export const checkpointFolder = (run: string, step: number): string =>
  join(run, "checkpoints", `step-${String(step).padStart(8, "0")}`);

/** What two runs with the same bits have in common, file by file: hashes of the tensors, and the record's text. */
export function checkpoint(run: string, step: number): Readonly<Record<string, string>> {
  const folder = checkpointFolder(run, step);
  return {
    files: entriesOf(folder).sort().join(" "),
    "model.safetensors": sha256(join(folder, "model.safetensors")),
    "optimizer.safetensors": sha256(join(folder, "optimizer.safetensors")),
    "run.json": readFileSync(join(folder, "run.json"), "utf8"),
  };
}

export type MetricsRecord = Readonly<Record<string, unknown>>;

export function metrics(run: string): MetricsRecord[] {
  const lines = readFileSync(join(run, "metrics.jsonl"), "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as MetricsRecord);
}

/** What was learnt, without how long it took. */
export function learning(run: string): MetricsRecord[] {
  const timed = (field: string) => field === "imagesPerSecond" || field.endsWith("Ms");
  return metrics(run).map((record) => Object.fromEntries(Object.entries(record).filter(([field]) => !timed(field))));
}

/** Without the tests that were made where a run was told to end before `step`: it was resumed later. */
export const testedAtEnd = (run: string, step: number): MetricsRecord[] =>
  learning(run).filter((record) => record["split"] !== "test" || record["step"] === step);

export function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
