/** Leads a run as its coordinator: from the config to the report. `train`, `resume` and `coordinator` differ only in where workers come from. */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { CheckpointStore } from "@ringmaster/checkpoint";
import { type Balance, CoordinatorError, openJournal, type RunEvent, runCoordinator } from "@ringmaster/coordinator";
import type { Shutdown } from "@ringmaster/launch";
import type { RunConfig, WorkerHello } from "@ringmaster/protocol";
import { cutMetricsAfter, readMetrics } from "@ringmaster/telemetry";
import { type LoadedDefinition, type Override, prepareData } from "@ringmaster/training";
import { type ControlLink, memoryLinkPair } from "@ringmaster/transport";
import type { WorkerEnd } from "@ringmaster/worker";
import { exitCodes } from "../exit-codes.ts";
import { sayOnStderr } from "../say-on-stderr.ts";
import { openLog } from "./log-file.ts";
import { MetricsSink } from "./metrics-sink.ts";
import {
  type NewRun,
  type PreparedRun,
  prepareRun,
  type RecoveredRun,
  type ResumedRun,
  runFileOf,
} from "./prepare-run.ts";
import { resolveConfig } from "./resolve-config.ts";
import { RunConsole } from "./run-console.ts";
import { writeRunFile } from "./run-record.ts";
import { work } from "./work.ts";

export interface LeadOptions {
  readonly what: NewRun | ResumedRun | RecoveredRun;
  readonly ranks: number;
  /** Workers over sockets, or the one worker in this process with so many compute threads. */
  readonly workers:
    | { readonly kind: "listen"; readonly host: string; readonly port: number }
    | { readonly kind: "inProcess"; readonly threads: number };
  readonly balance: Balance;
  readonly json: boolean;
  readonly shutdown: Shutdown;
}

/** @returns the exit code. @throws any package's coded error, before the run begins. */
export async function leadRun(options: LeadOptions): Promise<number> {
  const { what, ranks, shutdown } = options;
  const prepared = await prepareRun(what, { ranks, inProcess: options.workers.kind === "inProcess" });
  const { loaded, dataset, runFolder, name, store, resume, file, overrides, opened } = prepared;
  const metricsFile = join(runFolder, "metrics.jsonl");
  // Whoever does not have the journal touches nothing of the run: another may lead it.
  const journal = await openJournal(runFolder, {
    kind: what.kind === "recover" ? "recover" : "fresh",
    onWaiting: sayOnStderr,
  });
  const recovered = what.kind === "recover" ? await readMetrics(metricsFile) : null;
  if (what.kind === "resume") await cutMetricsAfter(metricsFile, resume?.step ?? 0);

  const configFor = (threads: number): RunConfig => {
    const fastDevRun = what.kind === "new" ? what.fastDevRun : false;
    if (!file) return resolveConfig({ definition: loaded.definition, dataset, name, threads, fastDevRun });
    return what.kind === "resume"
      ? { ...file.config, maxSteps: what.maxSteps ?? loaded.definition.maxSteps }
      : file.config;
  };
  const logFile = join(runFolder, "log.jsonl");
  const log = openLog(logFile, { role: "coordinator", pid: process.pid });
  const metrics = new MetricsSink(metricsFile, {
    mayWrite: () => !journal.isReplaced(),
    onError: (error) => console.say(error.message),
  });
  const console = new RunConsole({
    name,
    runFolder,
    classNames: dataset.classNames,
    metrics,
    log,
    resumed: resume,
    recovered: recovered && file && { config: file.config, records: recovered.records },
    reproduce: (config, steps, members) => reproduceCommand(loaded, overrides, config, steps, members),
  });
  if (recovered) console.say(`this coordinator takes run ${name} over after step ${recovered.lastStep ?? 0}`);
  else console.say(`run ${name} in ${runFolder}; data: ${loaded.definition.data.describe}`);
  for (const note of prepared.notes) console.say(note);
  let runFile = file;
  let written = Promise.resolve();
  const writeFile = () => {
    const saved = runFile;
    // A run folder that vanished and was made again for a checkpoint is no run without it.
    if (saved)
      written = written.then(() => writeRunFile(runFolder, saved)).catch((error: Error) => console.say(error.message));
  };
  const onEvent = (event: RunEvent) => {
    console.show(event);
    if (event.type === "settled") runFile = runFileOf(prepared, event);
    if (event.type === "settled" || (event.type === "saved" && !existsSync(join(runFolder, "config.json"))))
      writeFile();
  };

  const [coordinatorLink, workerLink] = memoryLinkPair();
  const token = process.env["RINGMASTER_TOKEN"] || randomBytes(24).toString("base64url");
  const workers = options.workers;
  // The one worker of a single-node run ends when the coordinator says so, not by a signal.
  const { signal } = new AbortController();
  let worker: Promise<WorkerEnd> | undefined;
  const startWorker = (threads: number) => {
    if (opened)
      worker = work({
        ...{ loaded, dataset, opened, threads, token, log, signal },
        connect: once(workerLink),
        ringHost: undefined,
        onJoined: () => {},
      });
  };
  try {
    const end = await runCoordinator({
      ranks,
      configHash: loaded.hash,
      datasetHash: dataset.contentHash,
      configFor,
      store,
      journal,
      resume,
      recover: recovered && {
        committed: recovered.lastStep ?? 0,
        evaluated: recovered.records.filter((record) => record.type === "evaluation"),
      },
      balance: options.balance,
      samplesOf: (step, seat) => {
        if (!runFile) return [];
        const { sampler } = prepareData(dataset, runFile.config);
        const { first, end } = sampler.seatSlots(step, seat);
        return [...sampler.batch(step).subarray(first, end)];
      },
      keptThrough: () => metrics.keptThrough,
      keepNow: () => metrics.flush(),
      workers:
        workers.kind === "inProcess"
          ? { kind: "memory", link: coordinatorLink, onListening: () => startWorker(workers.threads) }
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
      hurry: shutdown.hurry,
    });
    await written;
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

/** A link within this process stands once, and cannot be dialled again. */
function once(link: ControlLink): () => Promise<ControlLink> {
  let isTaken = false;
  return async () => {
    if (isTaken) throw new Error("the coordinator in this process has ended");
    isTaken = true;
    return link;
  };
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
