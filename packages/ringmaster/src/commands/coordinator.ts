import { listenForShutdown } from "@ringmaster/launch";
import { type Command, Option } from "commander";
import { leadRun } from "../run/lead-run.ts";
import type { NewRun, RecoveredRun, ResumedRun } from "../run/prepare-run.ts";
import { UsageError } from "../usage-error.ts";
import { addRunOptions, overridesOf, portOption, type RunOptions, ranksOption } from "./options.ts";

interface CoordinatorOptions extends RunOptions {
  readonly ranks: number;
  readonly host: string;
  readonly port: number;
  readonly resume?: string;
  readonly recover?: string;
  readonly json?: boolean;
}

const defaultPort = 4600;

export function addCoordinator(program: Command, exit: (code: number) => void): void {
  addRunOptions(program.command("coordinator [config]").description("lead a run whose workers join over the network"))
    .addOption(ranksOption("how many workers to wait for").default(2))
    .addOption(new Option("--host <host>", "the address to listen on").default("127.0.0.1"))
    .addOption(portOption().default(defaultPort))
    .addOption(
      new Option("--resume <run>", "go on with this run instead of a new one").conflicts([
        "name",
        "seats",
        "set",
        "fastDevRun",
      ]),
    )
    .addOption(
      new Option(
        "--recover <run>",
        "take the workers of this run back, whose coordinator died; on the same --port",
      ).conflicts(["resume", "maxSteps", "name", "seats", "set", "fastDevRun"]),
    )
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      "\nWorkers need the run's token: set RINGMASTER_TOKEN for both sides, or use the one that is printed.",
    )
    .action(async (config: string | undefined, options: CoordinatorOptions) => exit(await coordinate(config, options)));
}

async function coordinate(config: string | undefined, options: CoordinatorOptions): Promise<number> {
  const { ranks, host, port, balance } = options;
  const what = whatOf(config, options);
  // Workers of a coordinator that went without a word would wait for its return.
  const shutdown = listenForShutdown({ takesHurry: true });
  try {
    return await leadRun({
      what,
      ranks,
      workers: { kind: "listen", host, port },
      balance,
      json: options.json === true,
      shutdown,
    });
  } finally {
    shutdown.release();
  }
}

function whatOf(config: string | undefined, options: CoordinatorOptions): NewRun | ResumedRun | RecoveredRun {
  const { resume, recover, maxSteps } = options;
  if ([config, resume, recover].filter((given) => given !== undefined).length !== 1) {
    throw new UsageError(
      "BAD_OPTION",
      "expected a config file, or --resume or --recover with a run's folder: exactly one of them",
    );
  }
  if (recover !== undefined) return { kind: "recover", runFolder: recover };
  if (resume !== undefined) return { kind: "resume", runFolder: resume, maxSteps, computeOn: {} };
  return {
    kind: "new",
    config: config ?? "",
    overrides: overridesOf(options),
    runs: options.runs,
    name: options.name,
    fastDevRun: options.fastDevRun === true,
  };
}
