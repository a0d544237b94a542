import { randomBytes } from "node:crypto";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { settleBackend } from "@ringmaster/backend";
import { listenForShutdown, superviseLocal } from "@ringmaster/launch";
import { loadDefinition } from "@ringmaster/training";
import type { Command } from "commander";
import { leadRun } from "../run/lead-run.ts";
import { notesOf, type Wanted } from "../run/work.ts";
import { sayOnStderr } from "../say-on-stderr.ts";
import {
  addRunOptions,
  computeOnArgs,
  defaultThreads,
  overridesOf,
  type RunOptions,
  ranksOption,
  threadsOption,
} from "./options.ts";

export const cliFile = fileURLToPath(new URL("../cli.js", import.meta.url));

interface TrainOptions extends RunOptions {
  readonly ranks: number;
  readonly threads?: number;
  readonly json?: boolean;
}

export function addTrain(program: Command, exit: (code: number) => void): void {
  addRunOptions(program.command("train <config>").description("train on this machine, from a config file to a report"))
    .addOption(ranksOption("worker processes on this machine").default(1))
    .addOption(threadsOption())
    .option("--json", "print the result as JSON")
    .action(async (config: string, options: TrainOptions) => exit(await train(config, options)));
}

async function train(config: string, options: TrainOptions): Promise<number> {
  const { ranks, threads = defaultThreads(ranks) } = options;
  if (ranks > 1) {
    const { json, ...run } = options;
    const args = ["coordinator", config, ...runArgs(run), ...(json ? ["--json"] : [])];
    const { definition } = await loadDefinition(config, overridesOf(options));
    return launchLocal({
      ...{ coordinatorArgs: args, config, ranks, threads, balance: options.balance },
      json: json === true,
      computeOn: definition,
    });
  }
  const shutdown = listenForShutdown();
  try {
    return await leadRun({
      what: {
        kind: "new",
        config,
        overrides: overridesOf(options),
        runs: options.runs,
        name: options.name,
        fastDevRun: options.fastDevRun === true,
      },
      ranks,
      workers: { kind: "inProcess", threads },
      balance: options.balance,
      json: options.json === true,
      shutdown,
    });
  } finally {
    shutdown.release();
  }
}

/** The same options for the coordinator's command line. */
function runArgs({
  seats,
  maxSteps,
  name,
  runs,
  set,
  fastDevRun,
  ranks,
  balance,
  ...computeOn
}: TrainOptions): string[] {
  const given = Object.entries({ seats, "max-steps": maxSteps, name, runs, ranks, balance });
  return [
    ...given.flatMap(([option, value]) => (value === undefined ? [] : [`--${option}`, String(value)])),
    ...computeOnArgs(computeOn),
    ...set.flatMap(({ path, value }) => ["--set", `${path}=${JSON.stringify(value)}`]),
    ...(fastDevRun ? ["--fast-dev-run"] : []),
  ];
}

export interface LaunchLocalOptions {
  readonly coordinatorArgs: readonly string[];
  readonly config: string;
  readonly ranks: number;
  readonly threads: number;
  readonly balance: "threads" | "speed";
  readonly json: boolean;
  /** What config and command line come to: workers are not told of `--set`. */
  readonly computeOn: Wanted;
}

/** Starts a coordinator and `ranks` workers on this machine and supervises them. @throws BackendError where nothing could train, before that. */
export async function launchLocal({
  coordinatorArgs,
  config,
  ranks,
  threads,
  balance,
  json,
  computeOn,
}: LaunchLocalOptions): Promise<number> {
  const settled = settleBackend(computeOn);
  // The workers say it too, but in the log. Which GPU a rank takes only they know.
  if (settled.deviceName.kind === "cpu") for (const note of notesOf(settled, computeOn.precision)) sayOnStderr(note);
  return superviseLocal({
    program: [process.execPath, cliFile],
    coordinatorArgs: (recovering) => [
      ...(recovering ? recoverArgs(recovering.logFile, { ranks, balance, json }) : coordinatorArgs),
      ...["--host", "127.0.0.1", "--port", recovering ? new URL(recovering.url).port : "0"],
    ],
    workers: ranks,
    workerArgs: ({ url, logFile }, index) => [
      "worker",
      config,
      "--join",
      url,
      "--threads",
      String(threads),
      "--log",
      logFile,
      "--local-rank",
      `${index}/${ranks}`,
      ...computeOnArgs(computeOn),
    ],
    env: { RINGMASTER_TOKEN: randomBytes(24).toString("base64url") },
    onOutput: (worker, line) => sayOnStderr(`worker ${worker}: ${line}`),
    onNotice: sayOnStderr,
  });
}

/** The log lies in the run's folder. */
const recoverArgs = (
  logFile: string,
  { ranks, balance, json }: Pick<LaunchLocalOptions, "ranks" | "balance" | "json">,
): string[] => [
  ...["coordinator", "--recover", dirname(logFile), "--ranks", String(ranks), "--balance", balance],
  ...(json ? ["--json"] : []),
];
