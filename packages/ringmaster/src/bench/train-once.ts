import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { RunResult } from "../run/run-console.ts";
import { output } from "./subprocess.ts";

export type BenchModel = "simple-cnn" | "resnet-20" | "mlp" | "deep-mlp";

export interface TimedResult extends RunResult {
  readonly startedAtMs: number;
}

/** One whole run of a benchmark's model as a user starts it, in a folder of its own that is removed. */
export async function trainOnce(cliFile: string, model: BenchModel, args: readonly string[]): Promise<TimedResult> {
  const config = fileURLToPath(new URL(`./${model}.config.js`, import.meta.url));
  const runs = await mkdtemp(join(tmpdir(), "ringmaster-bench-"));
  try {
    const startedAtMs = Date.now();
    const stdout = await output(process.execPath, [cliFile, "train", config, "--json", "--runs", runs, ...args]);
    return { ...(JSON.parse(stdout) as RunResult), startedAtMs };
  } finally {
    await rm(runs, { recursive: true, force: true });
  }
}
