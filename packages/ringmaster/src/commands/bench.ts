import { type Command, Option } from "commander";
import type { BenchLine } from "../bench/bench-line.ts";
import { benchStep } from "../bench/bench-step.ts";
import { type BenchOptions, benchTrain } from "../bench/bench-train.ts";
import { exitCodes } from "../exit-codes.ts";
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
  const add = (
    name: string,
    description: string,
    run: (options: BenchOptions, peer: boolean) => Promise<BenchLine[]>,
  ): Command =>
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
      .action(async ({ steps, runs, work, peer, json }: BenchCommandOptions) => {
        const onProgress = (line: string) => process.stderr.write(`${line}\n`);
        const lines = await run({ steps, runs, work, cliFile, onProgress }, peer === true);
        for (const line of lines) process.stdout.write(`${json ? JSON.stringify(line) : inWords(line)}\n`);
        exit(exitCodes.done);
      });
  add(
    "train",
    "whole runs of SimpleCNN: images a second, where the time goes, memory, time to the first step",
    benchTrain,
  );
  add("step", "the whole training step in one process, 64 samples a core", (options, peer) =>
    benchStep({ ...options, peer }),
  ).option("--peer", "against PyTorch on the same cores (scripts/peers makes its environment)");
}

function inWords({ work, metric, value, peer, peerValue, ratio }: BenchLine): string {
  const against = peer === undefined ? "" : `  ${ratio?.toFixed(2)} x ${peer} (${peerValue?.toFixed(0)})`;
  return `${work.padEnd(30)} ${metric.padEnd(24)} ${value.toFixed(2).padStart(10)}${against}`;
}
