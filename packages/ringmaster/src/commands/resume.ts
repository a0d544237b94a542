import { resolve } from "node:path";
import type { BackendOptions } from "@ringmaster/backend";
import { listenForShutdown } from "@ringmaster/launch";
import { type Command, Option } from "commander";
import { leadRun } from "../run/lead-run.ts";
import { loadRunDefinition, readRunFile } from "../run/run-record.ts";
import {
  backendOption,
  balanceOption,
  computeOnOf,
  defaultThreads,
  deviceOption,
  integer,
  ranksOption,
  threadsOption,
} from "./options.ts";
import { launchLocal } from "./train.ts";

interface ResumeOptions extends BackendOptions {
  readonly ranks: number;
  readonly threads?: number;
  readonly maxSteps?: number;
  readonly balance: "threads" | "speed";
  readonly json?: boolean;
}

export function addResume(program: Command, exit: (code: number) => void): void {
  program
    .command("resume <run>")
    .description("go on from a run's newest good checkpoint, in any world, to the bits of a run that never stopped")
    .addOption(ranksOption("worker processes on this machine").default(1))
    .addOption(threadsOption())
    .addOption(backendOption())
    .addOption(deviceOption())
    .addOption(maxStepsOption())
    .addOption(balanceOption())
    .option("--json", "print the result as JSON")
    .action(async (run: string, options: ResumeOptions) => exit(await resume(run, options)));
}

const maxStepsOption = () =>
  new Option("--max-steps <n>", "end the run after so many steps").argParser(integer(1, 2 ** 32 - 1));

async function resume(runFolder: string, options: ResumeOptions): Promise<number> {
  const { ranks, threads = defaultThreads(ranks), maxSteps, json } = options;
  if (ranks > 1) {
    const file = await readRunFile(runFolder);
    const { definition } = await loadRunDefinition(runFolder, file);
    const cut = maxSteps === undefined ? [] : ["--max-steps", String(maxSteps)];
    const coordinatorArgs = [
      "coordinator",
      "--resume",
      runFolder,
      "--ranks",
      String(ranks),
      ...["--balance", options.balance],
      ...cut,
      ...(json ? ["--json"] : []),
    ];
    return launchLocal({
      coordinatorArgs,
      config: resolve(runFolder, file.configFile),
      ranks,
      threads,
      balance: options.balance,
      json: json === true,
      computeOn: { ...definition, ...computeOnOf(options) },
    });
  }
  const shutdown = listenForShutdown();
  try {
    return await leadRun({
      what: { kind: "resume", runFolder, maxSteps, computeOn: computeOnOf(options) },
      ranks,
      workers: { kind: "inProcess", threads },
      balance: options.balance,
      json: json === true,
      shutdown,
    });
  } finally {
    shutdown.release();
  }
}
