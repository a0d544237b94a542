/** `ringmaster bench train`: whole runs of SimpleCNN as a user starts them, in processes of their own, interleaved, medians of several. */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CoordinatorError } from "@ringmaster/coordinator";
import type { RunResult } from "../run/run-console.ts";

export interface BenchLine {
  readonly bench: "train";
  readonly work: string;
  readonly metric: string;
  readonly value: number;
  readonly runs: number;
}

const worlds = [
  { work: "simple-cnn/1-rank-1-thread", args: ["--ranks", "1", "--threads", "1"] },
  { work: "simple-cnn/1-rank-2-threads", args: ["--ranks", "1", "--threads", "2"] },
  { work: "simple-cnn/2-ranks-1-thread", args: ["--ranks", "2", "--threads", "1"] },
] as const;

interface TimedResult extends RunResult {
  readonly startedAtMs: number;
}

const metrics: Readonly<Record<string, (result: TimedResult) => number>> = {
  "images/s": (result) => result.imagesPerSecond,
  "data ms/step": (result) => result.meanMs.data,
  "compute ms/step": (result) => result.meanMs.compute,
  "communication ms/step": (result) => result.meanMs.communication,
  "optimizer ms/step": (result) => result.meanMs.optimizer,
  "peak MiB/rank": (result) => result.peakMemoryBytes / 2 ** 20,
  "seconds to first step": ({ firstStepAtMs, startedAtMs }) => ((firstStepAtMs ?? Number.NaN) - startedAtMs) / 1000,
};

export interface BenchOptions {
  readonly steps: number;
  readonly runs: number;
  /** Only works whose name contains it. */
  readonly work: string | undefined;
  readonly cliFile: string;
  readonly onRun: (work: string, result: RunResult) => void;
}

export async function benchTrain({ steps, runs, work: wanted, cliFile, onRun }: BenchOptions): Promise<BenchLine[]> {
  const chosen = worlds.filter(({ work }) => wanted === undefined || work.includes(wanted));
  const results = new Map<string, TimedResult[]>(chosen.map(({ work }) => [work, []]));
  for (let run = 0; run < runs; run++) {
    for (const { work, args } of chosen) {
      const result = await trainOnce(cliFile, [...args, "--max-steps", String(steps)]);
      results.get(work)?.push(result);
      onRun(work, result);
    }
  }
  return [...results].flatMap(([work, all]) =>
    Object.entries(metrics).map(([metric, read]) => ({
      bench: "train" as const,
      work,
      metric,
      value: median(all.map(read)),
      runs,
    })),
  );
}

const configFile = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "./simple-cnn.config.ts" : "./simple-cnn.config.js", import.meta.url),
);

async function trainOnce(cliFile: string, args: readonly string[]): Promise<TimedResult> {
  const runs = await mkdtemp(join(tmpdir(), "ringmaster-bench-"));
  try {
    const startedAtMs = Date.now();
    const stdout = await output(process.execPath, [cliFile, "train", configFile, "--json", "--runs", runs, ...args]);
    return { ...(JSON.parse(stdout) as RunResult), startedAtMs };
  } finally {
    await rm(runs, { recursive: true, force: true });
  }
}

function output(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    let complained = "";
    child.stdout.on("data", (data: Buffer) => {
      said += data.toString();
    });
    child.stderr.on("data", (data: Buffer) => {
      complained = (complained + data.toString()).slice(-2000);
    });
    child.once("error", reject);
    child.once("close", (code) => {
      if (code === 0) return resolve(said);
      reject(
        new CoordinatorError(
          "BENCH_FAILED",
          `a run of the benchmark ended with exit code ${code}: ${complained.trim().split("\n").at(-1)}`,
        ),
      );
    });
  });
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
