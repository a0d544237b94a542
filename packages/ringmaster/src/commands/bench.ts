import { type Command, Option } from "commander";
import { benchTrain } from "../bench/bench-train.ts";
import { exitCodes } from "../exit-codes.ts";
import { integer } from "./options.ts";
import { cliFile } from "./train.ts";

interface BenchCommandOptions {
  readonly steps: number;
  readonly runs: number;
  readonly work?: string;
  readonly json?: boolean;
}

export function addBench(program: Command, exit: (code: number) => void): void {
  program
    .command("bench")
    .description("measure this machine")
    .command("train")
    .description("whole runs of SimpleCNN: images a second, where the time goes, memory, time to the first step")
    .addOption(new Option("--steps <n>", "steps of each run").argParser(integer(2, 1e6)).default(100))
    .addOption(
      new Option("--runs <n>", "runs of each world, interleaved; medians are printed")
        .argParser(integer(1, 100))
        .default(3),
    )
    .addOption(new Option("--work <key>", "only works whose name contains it"))
    .option("--json", "a JSON object a line")
    .action(async ({ steps, runs, work, json }: BenchCommandOptions) => {
      const lines = await benchTrain({
        steps,
        runs,
        work,
        cliFile,
        onRun: (name, { imagesPerSecond }) =>
          process.stderr.write(`${name}: ${Math.round(imagesPerSecond)} images/s\n`),
      });
      for (const line of lines) {
        const { work: name, metric, value } = line;
        process.stdout.write(
          json
            ? `${JSON.stringify(line)}\n`
            : `${name.padEnd(30)} ${metric.padEnd(24)} ${value.toFixed(2).padStart(10)}\n`,
        );
      }
      exit(exitCodes.done);
    });
}
