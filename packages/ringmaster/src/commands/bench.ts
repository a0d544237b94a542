import { availableParallelism, cpus } from "node:os";
import { cpuFeatures } from "@ringmaster/backend";
import { type Command, Option } from "commander";
import { benchFaults } from "../bench/bench-faults.ts";
import type { BenchLine } from "../bench/bench-line.ts";
import { benchOptimizer } from "../bench/bench-optimizer.ts";
import { benchSimulate } from "../bench/bench-simulate.ts";
import { benchStep } from "../bench/bench-step.ts";
import { benchTrain } from "../bench/bench-train.ts";
import type { Bench } from "../bench/compare.ts";
import { exitCodes } from "../exit-codes.ts";
import { sayOnStderr } from "../say-on-stderr.ts";
import { integer } from "./options.ts";
import { cliFile } from "./train.ts";

interface BenchCommandOptions {
  readonly steps: number;
  readonly runs: number;
  readonly work?: string;
  readonly peer?: boolean;
  readonly json?: boolean;
}

export function addBench(program: Command, exit: (code: number) => void): void {
  const bench = program.command("bench").description("measure this machine");
  const add = (name: string, description: string, run: Bench): Command =>
    bench
      .command(name)
      .description(description)
      .addOption(new Option("--steps <n>", "steps of each run").argParser(integer(2, 1e6)).default(100))
      .addOption(
        new Option("--runs <n>", "runs of each work, interleaved; medians are printed")
          .argParser(integer(1, 100))
          .default(3),
      )
      .addOption(new Option("--work <key>", "only works whose name contains it"))
      .option("--json", "a JSON object a line")
      .action(async ({ steps, runs, work, peer = false, json }: BenchCommandOptions) => {
        sayOnStderr(`figures of ${describeCpu()}`);
        for await (const line of run({ steps, runs, work, peer, cliFile, onProgress: sayOnStderr }))
          process.stdout.write(`${json ? JSON.stringify(line) : inWords(line)}\n`);
        exit(exitCodes.done);
      });
  add(
    "train",
    "whole runs of SimpleCNN: images a second, where the time goes, memory, time to the first step",
    benchTrain,
  );
  add("step", "the whole training step, 64 samples a core; a rank's memory", benchStep).option(
    "--peer",
    "against PyTorch and TensorFlow in Python on the same cores too (scripts/peers makes their environment)",
  );
  add(
    "optimizer",
    "one pass of the optimizer over 2.1 million parameters on one core; a step is a pass",
    benchOptimizer,
  );
  add(
    "faults",
    "how soon deaths are seen and mended, what they cost, and what being ready for them costs; a run is a fault",
    benchFaults,
  );
  add("simulate", "simulated seconds a second, of a cluster of 1,000 ranks whose steps take a second", benchSimulate);
}

function describeCpu(): string {
  const model = cpus()[0]?.model.trim() || "a CPU";
  return `${model}, ${availableParallelism()} cores, with ${cpuFeatures().join(" ") || "no known instruction sets"}`;
}

function inWords({ work, metric, value, peer, peerValue, ratio }: BenchLine): string {
  const against = peer === undefined ? "" : `  ${ratio?.toFixed(2)} x ${peer} (${peerValue?.toFixed(0)})`;
  return `${work.padEnd(40)} ${metric.padEnd(24)} ${value.toFixed(2).padStart(10)}${against}`;
}
