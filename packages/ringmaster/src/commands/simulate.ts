import { writeFile } from "node:fs/promises";
import type { ScalingPoint, SimulationReport } from "@ringmaster/simulation";
import { type Command, InvalidArgumentError, Option } from "commander";
import { exitCodes } from "../exit-codes.ts";
import { integer } from "./options.ts";

interface SimulateCommandOptions {
  readonly ranks: number;
  readonly seats?: number;
  readonly stepMs: number;
  readonly modelBytes: number;
  readonly latencyMs: number;
  readonly gbit: number;
  readonly faultRate: number;
  readonly hours: number;
  readonly seed: number;
  readonly scaling?: readonly number[];
  readonly world?: number;
  readonly out?: string;
  readonly json?: boolean;
}

export function addSimulate(program: Command, exit: (code: number) => void): void {
  program
    .command("simulate")
    .description(
      "play hours of a run on a cluster that fails, or its scaling curve, in virtual time and with the real protocol code",
    )
    .addOption(new Option("--ranks <n>", "workers").argParser(integer(1, 1024)).default(8))
    .addOption(
      new Option("--seats <n>", "fixed shares of every batch (default: one a rank)").argParser(integer(1, 1024)),
    )
    .addOption(
      new Option("--step-ms <ms>", "a seat's forward and backward pass, as measured on one rank")
        .argParser(positive)
        .default(1000),
    )
    .addOption(
      new Option("--model-bytes <n>", "bytes of the gradients").argParser(integer(64, 2 ** 36)).default(100_000_000),
    )
    .addOption(new Option("--latency-ms <ms>", "of a link").argParser(positive).default(0.1))
    .addOption(new Option("--gbit <n>", "of a link, in Gbit/s").argParser(positive).default(10))
    .addOption(new Option("--fault-rate <n>", "faults of each rank in an hour").argParser(atLeastZero).default(0))
    .addOption(new Option("--hours <n>", "how long the run is watched").argParser(positive).default(1))
    .addOption(
      new Option("--seed <n>", "of everything that chance has a hand in").argParser(integer(0, 2 ** 32 - 1)).default(1),
    )
    .addOption(
      new Option("--scaling <list>", "instead: the steps on so many ranks each, as 1,2,4,8").argParser(ranksList),
    )
    .addOption(new Option("--out <file>", "where to write the scaling curve as an SVG picture"))
    .addOption(
      new Option("--world <seed>", "instead: replay one of the small worlds of the tests").argParser(
        integer(0, 2 ** 32 - 1),
      ),
    )
    .option("--json", "print the result as JSON")
    .action(async (options: SimulateCommandOptions) => exit(await simulate(options)));
}

async function simulate({ scaling, world, out, json, ...options }: SimulateCommandOptions): Promise<number> {
  const show = (result: object, words: string) => process.stdout.write(json ? `${JSON.stringify(result)}\n` : words);
  // No other command waits for it at its start.
  const { randomWorld, scalingCurve, scalingPicture, simulateRun, World } = await import("@ringmaster/simulation");
  if (world !== undefined) {
    const drawn = randomWorld(world);
    const { violations, end, nowMs, recoveries, traceHash } = new World(drawn).run();
    const told = { ...drawn, violations, end, nowMs, generations: recoveries, traceHash };
    show(told, `${JSON.stringify(told, null, 2)}\n`);
    return violations.length === 0 ? exitCodes.done : exitCodes.failed;
  }
  if (scaling !== undefined) {
    const points = scalingCurve(options, scaling);
    show({ points }, scalingInWords(points));
    const title = `Weak scaling: ${options.stepMs} ms a step, ${megabytes(options.modelBytes)} of gradients, ${options.gbit} Gbit/s, ${options.latencyMs} ms`;
    if (out !== undefined) await writeFile(out, scalingPicture(points, title));
    return exitCodes.done;
  }
  const report = simulateRun({ ...options, seats: Math.max(options.seats ?? options.ranks, options.ranks) });
  show(report, inWords(report));
  return exitCodes.done;
}

function inWords(report: SimulationReport): string {
  const { ranks, seats, hours, faults, steps, stepMs, goodput, recoveries, longestRecoveryMs, seed } = report;
  const { scalingEfficiency, bytesSentPerStep, bytesOverOptimum, wireMs, wireOverOptimum, waitMs } = report;
  const causes = Object.entries(recoveries).flatMap(([cause, count]) => (count > 0 ? [`${cause} ${count}`] : []));
  return [
    `${ranks} ranks on ${seats} seats, ${hours} h, ${faults} faults, seed ${seed}`,
    `goodput            ${percent(goodput)}  (${steps} steps of ${stepMs.toFixed(1)} ms)`,
    `recoveries         ${causes.join(", ") || "none"}; the longest took ${(longestRecoveryMs / 1000).toFixed(1)} s`,
    `scaling efficiency ${percent(scalingEfficiency)}  (flat ring)`,
    `on the wire        ${megabytes(bytesSentPerStep)} a rank and step, ${bytesOverOptimum.toFixed(3)} x the optimum, for ${wireMs.toFixed(1)} ms, ${wireOverOptimum.toFixed(3)} x; ${waitMs.toFixed(1)} ms of a step are waited for it`,
    "",
  ].join("\n");
}

function scalingInWords(points: readonly ScalingPoint[]): string {
  const rows = points.map(({ ranks, totalMs, waitMs, bytesSent, efficiency }) => [
    String(ranks),
    totalMs.toFixed(1),
    waitMs.toFixed(1),
    megabytes(bytesSent),
    percent(efficiency),
  ]);
  const table = [["ranks", "step ms", "waiting ms", "sent", "efficiency"], ...rows];
  return table.map((row) => `${row.map((cell, column) => cell.padStart(column === 0 ? 6 : 12)).join("")}\n`).join("");
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

function positive(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError(`Expected a number above 0, found ${text}.`);
}

function atLeastZero(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value) && value >= 0) return value;
  throw new InvalidArgumentError(`Expected a number of at least 0, found ${text}.`);
}

const ranksList = (text: string): number[] => text.split(",").map(integer(1, 1024));
