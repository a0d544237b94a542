import { hostname } from "node:os";
import { type BackendOptions, type DevicePreference, devicesOfRanks, readDeviceFacts } from "@ringmaster/backend";
import { CoordinatorError } from "@ringmaster/coordinator";
import { listenForShutdown } from "@ringmaster/launch";
import { loadDefinition } from "@ringmaster/training";
import { dialCoordinator } from "@ringmaster/transport";
import { terminatedExitCode, type WorkerLog } from "@ringmaster/worker";
import { type Command, InvalidArgumentError, Option } from "commander";
import { exitCodes } from "../exit-codes.ts";
import { openLog } from "../run/log-file.ts";
import { openDevice, work } from "../run/work.ts";
import { UsageError } from "../usage-error.ts";
import { backendOption, computeOnOf, defaultThreads, deviceOption, integer, threadsOption } from "./options.ts";

interface WorkerCommandOptions extends BackendOptions {
  readonly join: string;
  readonly token?: string;
  readonly threads?: number;
  readonly localRank?: LocalRank;
  readonly ringHost: string;
  readonly patience: number;
  readonly log?: string;
}

export function addWorker(program: Command, exit: (code: number) => void): void {
  program
    .command("worker <config>")
    .description("join a run as one of its ranks")
    .requiredOption("--join <url>", "the coordinator's address, such as ws://host:4600")
    .addOption(new Option("--token <token>", "the run's token (better: in the environment)").env("RINGMASTER_TOKEN"))
    .addOption(threadsOption())
    .addOption(backendOption())
    .addOption(deviceOption())
    .addOption(
      new Option("--local-rank <i/n>", "which of this machine's n ranks it is: each takes a GPU of its own").argParser(
        localRank,
      ),
    )
    .addOption(new Option("--ring-host <host>", "this machine's address for the other ranks").default("127.0.0.1"))
    .addOption(
      new Option("--patience <seconds>", "how long to go on, or to wait, without a coordinator before it ends")
        .argParser(integer(1, 1e6))
        .default(600),
    )
    .addOption(new Option("--log <file>", "append JSON log lines to a file instead of saying on stderr what happens"))
    .action(async (config: string, options: WorkerCommandOptions) => exit(await joinRun(config, options)));
}

interface LocalRank {
  readonly index: number;
  readonly ranks: number;
}

function localRank(text: string): LocalRank {
  const [, index = 0, ranks = 0] = (/^(\d{1,4})\/(\d{1,4})$/.exec(text) ?? []).map(Number);
  if (index < ranks) return { index, ranks };
  throw new InvalidArgumentError(`Expected a rank of so many, such as 0/2, found ${text}.`);
}

function deviceOf(
  device: DevicePreference,
  local: LocalRank | undefined,
  say: (line: string) => void,
): DevicePreference {
  if (local === undefined) return device;
  const { devices, reason } = devicesOfRanks(device, local.ranks, readDeviceFacts());
  if (reason !== null) say(reason);
  return devices[local.index] ?? device;
}

const onStderr: WorkerLog = {
  info: (fields, message) =>
    process.stderr.write(`${message}${"seats" in fields ? ` on seats ${String(fields.seats)}` : ""}\n`),
  error: () => {},
};

const inFile = (file: string): WorkerLog => openLog(file, { role: "worker", host: hostname(), pid: process.pid });

async function joinRun(config: string, options: WorkerCommandOptions): Promise<number> {
  const { token, join, threads = defaultThreads(1), ringHost } = options;
  if (!token)
    throw new UsageError("TOKEN_MISSING", "expected the run's token in RINGMASTER_TOKEN (the coordinator prints it)");
  const shutdown = listenForShutdown();
  const log = options.log === undefined ? onStderr : inFile(options.log);
  try {
    const loaded = await loadDefinition(config, []);
    const dataset = await loaded.definition.data.load();
    const wanted = { ...loaded.definition, ...computeOnOf(options) };
    const say = (line: string) => log.info({}, line);
    const opened = await openDevice({ ...wanted, device: deviceOf(wanted.device, options.localRank, say) }, say);
    // Once it has joined, a worker without a supervisor ends with its coordinator, which stops the run.
    const signal = AbortSignal.any([shutdown.stop, shutdown.orphaned]);
    const onWaiting = (why: string) => say(`no coordinator answers at ${join} yet (${why}): trying on`);
    const first = await dialCoordinator({ url: join, token, signal, onWaiting });
    let isFirst = true;
    const connect = async (given: AbortSignal) => {
      if (!isFirst) return dialCoordinator({ url: join, token, signal: given, patienceMs: 0 });
      isFirst = false;
      return first;
    };
    const end = await work({
      ...{ connect, loaded, dataset, opened, threads, token, ringHost, log },
      signal: shutdown.stop,
      // What its supervisor tells a worker is that its run is over.
      orphaned: AbortSignal.any([shutdown.toldToStop, shutdown.orphaned]),
      patienceMs: options.patience * 1000,
      onJoined: () => shutdown.tell({ type: "joined" }),
    });
    // Who watches the worker itself is told why it ended; a supervisor's user hears it from the coordinator.
    if (end.exitCode === exitCodes.failed && options.log === undefined)
      throw new CoordinatorError(end.code, end.message);
    return end.exitCode;
  } catch (error) {
    // Whoever asked it to stop knows why: a signal asks a worker to leave, and nobody has to wait for one that has not joined.
    if (shutdown.toldToStop.aborted || shutdown.orphaned.aborted) return exitCodes.interrupted;
    if (shutdown.stop.aborted) return terminatedExitCode;
    throw error;
  } finally {
    shutdown.release();
  }
}
