import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunResult } from "../run/run-console.ts";
import { type BenchModel, configOf } from "./bench-model.ts";
import { output } from "./subprocess.ts";

export interface TimedResult extends RunResult {
  readonly startedAtMs: number;
}

/** One whole run of a benchmark's model as a user starts it, in a folder of its own that is removed. */
export async function trainOnce(cliFile: string, model: BenchModel, args: readonly string[]): Promise<TimedResult> {
  const config = configOf(model);
  const runs = await mkdtemp(join(tmpdir(), "ringmaster-bench-"));
  try {
    const startedAtMs = Date.now();
    const stdout = await output(process.execPath, [cliFile, "train", config, "--json", "--runs", runs, ...args]);
    return { ...(JSON.parse(stdout) as RunResult), startedAtMs };
  } finally {
    await rm(runs, { recursive: true, force: true });
  }
}
