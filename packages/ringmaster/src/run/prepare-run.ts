/** Everything that is read and checked before a run begins; a new run gets its folder last. */

import type { BackendOptions } from "@ringmaster/backend";
import {
  type CheckpointStore,
  createRunFolder,
  type LoadedCheckpoint,
  nextRunName,
  openCheckpoints,
} from "@ringmaster/checkpoint";
import { CoordinatorError, type RunEvent } from "@ringmaster/coordinator";
import type { ImageDataset } from "@ringmaster/data";
import type { RunConfig } from "@ringmaster/protocol";
import { type LoadedDefinition, loadDefinition, type Override, prepareData } from "@ringmaster/training";
import { sayOnStderr } from "../say-on-stderr.ts";
import { UsageError } from "../usage-error.ts";
import { resolveConfig } from "./resolve-config.ts";
import { loadRunDataset, loadRunDefinition, type RunFile, readRunFile, relativeConfig } from "./run-record.ts";
import { type OpenedDevice, openDevice } from "./work.ts";

export interface NewRun {
  readonly kind: "new";
  readonly config: string;
  readonly overrides: readonly Override[];
  readonly runs: string;
  readonly name: string | undefined;
  readonly fastDevRun: boolean;
}

export interface ResumedRun {
  readonly kind: "resume";
  readonly runFolder: string;
  readonly maxSteps: number | undefined;
  /** What trains in this process, over the config's choice. */
  readonly computeOn: BackendOptions;
}

/** A run whose coordinator died, while its workers may go on. */
export interface RecoveredRun {
  readonly kind: "recover";
  readonly runFolder: string;
}

export interface PrepareOptions {
  readonly ranks: number;
  /** Whether the one rank works in this process. */
  readonly inProcess: boolean;
}

export interface PreparedRun {
  readonly loaded: LoadedDefinition;
  readonly dataset: ImageDataset;
  readonly runFolder: string;
  readonly name: string;
  readonly store: CheckpointStore;
  readonly resume: LoadedCheckpoint | null;
  /** Of the run that is resumed. */
  readonly file: RunFile | null;
  readonly overrides: readonly Override[];
  /** What trains in this process, for a run of one rank. */
  readonly opened: OpenedDevice | undefined;
  /** Why it is that, where it is not the usual. */
  readonly notes: readonly string[];
}

/** @throws any package's coded error, before anything is written. */
export function prepareRun(what: NewRun | ResumedRun | RecoveredRun, options: PrepareOptions): Promise<PreparedRun> {
  switch (what.kind) {
    case "new":
      return prepareNew(what, options);
    case "resume":
      return prepareResume(what, options);
    case "recover":
      return prepareResume({ ...what, computeOn: {} }, options);
  }
}

async function prepareNew(what: NewRun, { ranks, inProcess }: PrepareOptions): Promise<PreparedRun> {
  const loaded = await loadDefinition(what.config, what.overrides);
  const dataset = await loaded.definition.data.load();
  const base = loaded.definition.name ?? loaded.defaultName;
  const name = what.name ?? (await nextRunName(what.runs, base));
  const config = resolveConfig({
    definition: loaded.definition,
    dataset,
    name,
    threads: ranks,
    fastDevRun: what.fastDevRun,
  });
  prepareData(dataset, config);
  checkRanks(ranks, config, true);
  const notes: string[] = [];
  const opened = inProcess ? await openDevice(loaded.definition, (line) => notes.push(line)) : undefined;
  const runFolder = await createRunFolder(what.runs, name);
  return {
    loaded,
    dataset,
    runFolder,
    name,
    store: openCheckpoints(runFolder),
    resume: null,
    file: null,
    overrides: what.overrides,
    opened,
    notes,
  };
}

async function prepareResume(
  { runFolder, computeOn }: Pick<ResumedRun, "runFolder" | "computeOn">,
  { ranks, inProcess }: PrepareOptions,
): Promise<PreparedRun> {
  const file = await readRunFile(runFolder);
  checkRanks(ranks, file.config, false);
  const loaded = await loadRunDefinition(runFolder, file);
  const dataset = await loadRunDataset(runFolder, file, loaded);
  const store = openCheckpoints(runFolder);
  const { checkpoint, rejected } = await store.loadNewest();
  for (const { step, reason } of rejected) sayOnStderr(`the checkpoint of step ${step} is not used: ${reason}`);
  if (!checkpoint && rejected.length > 0) {
    throw new CoordinatorError(
      "CHECKPOINT_CORRUPT",
      `none of the checkpoints in ${runFolder} is usable; start a new run with ringmaster train`,
    );
  }
  const overrides = file.overrides.map(({ path, value }) => ({ path, value }));
  const notes: string[] = [];
  const wanted = { ...loaded.definition, ...computeOn };
  const opened = inProcess ? await openDevice(wanted, (line) => notes.push(line)) : undefined;
  const { name } = file.config;
  return { loaded, dataset, runFolder, opened, notes, name, store, resume: checkpoint, file, overrides };
}

/** What a run cannot be is said before anybody joins and before a folder is made. @throws UsageError MORE_RANKS_THAN_SEATS */
function checkRanks(ranks: number, { seats, batchSize }: RunConfig, isNew: boolean): void {
  if (ranks <= seats) return;
  const more = `use fewer ranks, or a new run with --seats ${ranks} or more (its batches have ${batchSize} samples)`;
  throw new UsageError(
    "MORE_RANKS_THAN_SEATS",
    `${ranks} ranks cannot sit on ${seats} seats; ${isNew ? more : `a run keeps its seats: use --ranks ${seats} or fewer`}`,
  );
}

/** What `config.json` says of a run, once its ranks are known. */
export function runFileOf(
  { loaded, dataset, runFolder, overrides }: PreparedRun,
  settled: Extract<RunEvent, { type: "settled" }>,
): RunFile {
  const { normalisation } = prepareData(dataset, settled.config);
  return {
    config: settled.config,
    configFile: relativeConfig(runFolder, loaded.path),
    configHash: loaded.hash,
    datasetHash: dataset.contentHash,
    overrides: [...overrides],
    data: {
      kind: loaded.definition.data.kind,
      imageShape: [...dataset.imageShape],
      classNames: [...dataset.classNames],
      normalisation: { mean: [...normalisation.mean], std: [...normalisation.std] },
    },
    fingerprints: settled.members.map(({ fingerprint }) => ({ ...fingerprint })),
  };
}
