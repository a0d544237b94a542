/** Leads a run as its coordinator: from the config to the report. `train`, `resume` and `coordinator` differ only in where workers come from. */
import { randomBytes } from "node:crypto";
import { join, resolve } from "node:path";
import type { CheckpointStore } from "@ringmaster/checkpoint";
import { CoordinatorError, type RunEvent, runCoordinator } from "@ringmaster/coordinator";
import type { Shutdown } from "@ringmaster/launch";
import type { RunConfig, WorkerHello } from "@ringmaster/protocol";
import { cutMetricsAfter, openMetricsFile } from "@ringmaster/telemetry";
import type { LoadedDefinition, Override } from "@ringmaster/training";
import { memoryLinkPair } from "@ringmaster/transport";
import { pino } from "pino";
import { exitCodes } from "../exit-codes.ts";
import { type NewRun, type PreparedRun, prepareRun, type ResumedRun, runFileOf } from "./prepare-run.ts";
import { resolveConfig } from "./resolve-config.ts";
import { RunConsole } from "./run-console.ts";
import { writeRunFile } from "./run-record.ts";
import { work } from "./work.ts";

export interface LeadOptions {
  readonly what: NewRun | ResumedRun;
  readonly ranks: number;
  /** Workers over sockets, or the one worker in this process with so many compute threads. */
  readonly workers:
    | { readonly kind: "listen"; readonly host: string; readonly port: number }
    | { readonly kind: "inProcess"; readonly threads: number };
  readonly json: boolean;
  readonly shutdown: Shutdown;
}

/** @returns the exit code. @throws any package's coded error, before the run begins. */
export async function leadRun(options: LeadOptions): Promise<number> {
  const { what, ranks, shutdown } = options;
  const prepared = await prepareRun(what, { ranks, inProcess: options.workers.kind === "inProcess" });
  const { loaded, dataset, runFolder, name, store, resume, file, overrides, opened } = prepared;
  const metricsFile = join(runFolder, "metrics.jsonl");
  if (file) await cutMetricsAfter(metricsFile, resume?.step ?? 0);

  const configFor = (threads: number): RunConfig => {
    const fastDevRun = what.kind === "new" ? what.fastDevRun : false;
    if (!file) return resolveConfig({ definition: loaded.definition, dataset, name, threads, fastDevRun });
    const maxSteps = what.kind === "resume" ? (what.maxSteps ?? loaded.definition.maxSteps) : null;
    return { ...file.config, maxSteps };
  };
  const logFile = join(runFolder, "log.jsonl");
  const log = pino({ base: { role: "coordinator" } }, pino.destination({ dest: logFile, append: true, sync: true }));
  const metrics = openMetricsFile(metricsFile, { onError: (error) => log.error({ code: error.code }, error.message) });
  const console = new RunConsole({
    name,
    runFolder,
    classNames: dataset.classNames,
    metrics,
    log,
    resumed: resume,
    reproduce: (config, steps, members) => reproduceCommand(loaded, overrides, config, steps, members),
  });
  console.say(`run ${name} in ${runFolder}; data: ${loaded.definition.data.describe}`);
  for (const note of prepared.notes) console.say(note);
  const writes: Promise<void>[] = [];
  const onEvent = (event: RunEvent) => {
    console.show(event);
    if (event.type === "seated") writes.push(writeRunFile(runFolder, runFileOf(prepared, event)));
  };

  const [coordinatorLink, workerLink] = memoryLinkPair();
  const token = process.env["RINGMASTER_TOKEN"] || randomBytes(24).toString("base64url");
  const workers = options.workers;
  // The one worker of a single-node run ends when the coordinator says so, not by a signal.
  const { signal } = new AbortController();
  const worker =
    workers.kind === "inProcess" && opened
      ? work({
          link: workerLink,
          loaded,
          dataset,
          opened,
          threads: workers.threads,
          token,
          ringHost: undefined,
          log,
          signal,
        })
      : undefined;
  try {
    const end = await runCoordinator({
      ranks,
      configHash: loaded.hash,
      datasetHash: dataset.contentHash,
      configFor,
      store,
      resume,
      workers:
        workers.kind === "inProcess"
          ? { kind: "memory", link: coordinatorLink }
          : {
              ...workers,
              token,
              onListening: ({ port }) => {
                const url = `ws://${workers.host}:${port}`;
                shutdown.tell({ type: "listening", url, logFile: resolve(logFile) });
                if (!shutdown.isSupervised) {
                  console.say(`waiting for ${ranks} workers; start each with`);
                  // On the terminal alone: a token does not belong in a log.
                  console.print(`  RINGMASTER_TOKEN=${token} npx ringmaster worker ${loaded.path} --join ${url}`);
                }
              },
            },
      onEvent,
      stop: AbortSignal.any([shutdown.stop, shutdown.orphaned]),
    });
    await Promise.all(writes);
    console.done();
    log.info({ code: end.code, exitCode: end.exitCode }, end.message);
    if (end.exitCode === exitCodes.done || end.exitCode === exitCodes.interrupted)
      await conclude(prepared, console, end.exitCode, options.json);
    if (end.exitCode === exitCodes.interrupted) console.say(end.message);
    if (end.exitCode !== exitCodes.done) await sayHowToResume(store, runFolder, console);
    if (end.exitCode !== exitCodes.done && end.exitCode !== exitCodes.interrupted)
      throw new CoordinatorError(end.code, end.message);
    return end.exitCode;
  } finally {
    await worker;
    await metrics.close();
  }
}

async function conclude({ store }: PreparedRun, console: RunConsole, exitCode: number, json: boolean): Promise<void> {
  const newest = (await store.list()).at(-1);
  if (newest === undefined) return;
  const { record } = await store.load(newest);
  const result = console.result(record.files.model.sha256);
  if (json) process.stdout.write(`${JSON.stringify({ ...result, exitCode })}\n`);
  else if (exitCode === exitCodes.done) process.stdout.write(`\n${console.report(result)}\n`);
}

async function sayHowToResume(store: CheckpointStore, runFolder: string, console: RunConsole): Promise<void> {
  const newest = (await store.list()).at(-1);
  if (newest === undefined) return console.say("there is no checkpoint yet");
  console.say(`the last checkpoint is of step ${newest}; go on with: npx ringmaster resume ${runFolder}`);
}

/** The command that trains the same bits on one rank: everything that the bits depend on is in it or in the config file. */
function reproduceCommand(
  loaded: LoadedDefinition,
  overrides: readonly Override[],
  config: RunConfig,
  steps: number,
  members: readonly WorkerHello[],
): string {
  const shaped = new Set(["seats", "maxSteps", "backend", "device"]);
  const sets = overrides
    .filter(({ path }) => !shaped.has(path))
    .map(({ path, value }) => `--set ${path}=${JSON.stringify(value)}`);
  // "auto" may find another there.
  const isPortable = members.every(({ fingerprint }) => fingerprint.backend.startsWith("portable"));
  const on = [
    ...(isPortable ? ["--backend portable"] : []),
    ...(config.device === "auto" ? [] : [`--device ${config.device}`]),
  ];
  const fast = config.fastDevRun ? ["--fast-dev-run"] : [];
  const cut = config.maxSteps === null ? [] : [`--max-steps ${steps}`];
  const shown = loaded.path.startsWith(process.cwd()) ? loaded.path.slice(process.cwd().length + 1) : loaded.path;
  return ["npx ringmaster train", shown, "--ranks 1", `--seats ${config.seats}`, ...cut, ...on, ...sets, ...fast].join(
    " ",
  );
}
