/** `config.json` of a run: what `resume`, `evaluate` and `predict` need to find everything again. */
import { join, relative, resolve } from "node:path";
import { readConfig, writeConfig } from "@ringmaster/checkpoint";
import type { ImageDataset } from "@ringmaster/data";
import { describeIssues, runConfigSchema } from "@ringmaster/protocol";
import { type LoadedDefinition, loadDefinition } from "@ringmaster/training";
import { z } from "zod";
import { UsageError } from "../usage-error.ts";

const runFileSchema = z.strictObject({
  config: runConfigSchema,
  /** From the run's folder, so that a project may move. */
  configFile: z.string(),
  configHash: z.string(),
  datasetHash: z.string(),
  overrides: z.array(z.strictObject({ path: z.string(), value: z.unknown() })),
  /** What the model was trained on, for its use without the dataset. */
  data: z.strictObject({
    kind: z.string(),
    imageShape: z.tuple([z.int().positive(), z.int().positive(), z.int().positive()]),
    classNames: z.array(z.string()),
    normalisation: z.strictObject({ mean: z.array(z.number()), std: z.array(z.number()) }),
  }),
  /** Of each rank that the run began with. */
  fingerprints: z.array(z.record(z.string(), z.string())),
});

export type RunFile = z.infer<typeof runFileSchema>;

export const writeRunFile = (runFolder: string, file: RunFile): Promise<void> => writeConfig(runFolder, { ...file });

/** The run's dataset, which must be the one that the run was made with. @throws UsageError DATASET_CHANGED */
export async function loadRunDataset(
  runFolder: string,
  file: RunFile,
  loaded: LoadedDefinition,
): Promise<ImageDataset> {
  const dataset = await loaded.definition.data.load();
  if (dataset.contentHash === file.datasetHash) return dataset;
  throw new UsageError(
    "DATASET_CHANGED",
    `the dataset is not the one that ${runFolder} was made with; restore its files`,
  );
}

export const relativeConfig = (runFolder: string, configPath: string): string =>
  relative(resolve(runFolder), configPath);

/** @throws CheckpointError CONFIG_MISSING; UsageError CONFIG_INVALID */
export async function readRunFile(runFolder: string): Promise<RunFile> {
  const parsed = runFileSchema.safeParse(await readConfig(runFolder), { reportInput: true });
  if (parsed.success) return parsed.data;
  throw new UsageError(
    "CONFIG_INVALID",
    `${join(runFolder, "config.json")}: ${describeIssues(parsed.error).join("; ")}`,
  );
}

/** The run's config module, which must be the one that the run was made with. @throws UsageError CONFIG_CHANGED */
export async function loadRunDefinition(runFolder: string, file: RunFile): Promise<LoadedDefinition> {
  const overrides = file.overrides.map(({ path, value }) => ({ path, value }));
  const loaded = await loadDefinition(resolve(runFolder, file.configFile), overrides);
  if (loaded.hash === file.configHash) return loaded;
  const advice = "restore it, or start a new run with ringmaster train";
  throw new UsageError("CONFIG_CHANGED", `${loaded.path} has changed since ${runFolder} was made with it; ${advice}`);
}
