/** Options that commands share, with their parsers: a bad value is refused with what was expected and found. */
import { availableParallelism } from "node:os";
import { type BackendOptions, type DevicePreference, parseDevice } from "@ringmaster/backend";
import type { Override } from "@ringmaster/training";
import { type Command, InvalidArgumentError, Option } from "commander";

export function integer(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && Number.isInteger(value) && value >= minimum && value <= maximum) return value;
    throw new InvalidArgumentError(`Expected a whole number from ${minimum} to ${maximum}, found ${text}.`);
  };
}

/** `path=value`, the value as JSON where it is JSON, else as text. */
function override(text: string, previous: readonly Override[]): Override[] {
  const [, path, value = ""] = /^([A-Za-z][A-Za-z0-9.]*)=(.*)$/s.exec(text) ?? [];
  if (path === undefined)
    throw new InvalidArgumentError(`Expected path=value, such as optimizer.learningRate=0.01, found ${text}.`);
  return [...previous, { path, value: parseValue(value) }];
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

export const threadsOption = () =>
  new Option("--threads <n>", "compute threads of a rank (default: cores shared out among local ranks)").argParser(
    integer(1, 1024),
  );
export const deviceOption = () =>
  new Option(
    "--device <device>",
    "what trains: auto, cpu, gpu or gpu:1; a GPU is an error where there is none",
  ).argParser(device);

function device(text: string): DevicePreference {
  const parsed = parseDevice(text);
  if (parsed === undefined) throw new InvalidArgumentError(`Expected auto, cpu, gpu or gpu:1, found ${text}.`);
  return parsed;
}

export const backendOption = () =>
  new Option(
    "--backend <backend>",
    "what computes: libtensorflow, or portable WebAssembly (auto: libtensorflow if there)",
  ).choices(["auto", "tensorflow", "portable"]);
/** The two options as they were given, without those that were not. */
export const computeOnOf = ({ backend, device }: BackendOptions): BackendOptions => ({
  ...(backend !== undefined && { backend }),
  ...(device !== undefined && { device }),
});
/** The same options for another command's line. */
export const computeOnArgs = (options: BackendOptions): string[] =>
  Object.entries(computeOnOf(options)).flatMap(([name, value]) => [`--${name}`, String(value)]);
const runsOption = () => new Option("--runs <dir>", "folder of all runs").default("runs");
export const ranksOption = (description: string) => new Option("--ranks <n>", description).argParser(integer(1, 1024));
export const balanceOption = () =>
  new Option(
    "--balance <by>",
    "who gets how many seats: by compute threads, or by measured speed, on which seats move during the run",
  )
    .choices(["threads", "speed"])
    .default("threads");
export const portOption = () =>
  new Option("--port <port>", "where workers connect; 0: any free port").argParser(integer(0, 65_535));

/** What shapes a new run, over its config file. */
export function addRunOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--seats <n>",
        "fixed shares of every batch (default: the compute threads that the run starts with)",
      ).argParser(integer(1, 1024)),
    )
    .addOption(new Option("--max-steps <n>", "end the run after so many steps").argParser(integer(1, 2 ** 32 - 1)))
    .addOption(
      new Option("--name <name>", "name of the run's folder (default: the config's, numbered where it is taken)"),
    )
    .addOption(runsOption())
    .addOption(balanceOption())
    .addOption(backendOption())
    .addOption(deviceOption())
    .addOption(
      new Option("--set <path=value>", "a field of the config, over the file; repeatable")
        .argParser(override)
        .default([], "none"),
    )
    .addOption(new Option("--fast-dev-run", "three steps and two blocks of everything, to see that it runs"));
}

export interface RunOptions extends BackendOptions {
  readonly balance: "threads" | "speed";
  readonly seats?: number;
  readonly maxSteps?: number;
  readonly name?: string;
  readonly runs: string;
  readonly set: readonly Override[];
  readonly fastDevRun?: boolean;
}

/** The config's overrides that the command line stands for. */
export function overridesOf({ seats, maxSteps, backend, device, set }: RunOptions): Override[] {
  const given = Object.entries({ seats, maxSteps, backend, device }).flatMap(([path, value]) =>
    value === undefined ? [] : [{ path, value }],
  );
  return [...set, ...given];
}

export const defaultThreads = (localRanks: number): number =>
  Math.max(1, Math.floor(availableParallelism() / localRanks));
