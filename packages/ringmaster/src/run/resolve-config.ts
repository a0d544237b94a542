import { defaultSeats } from "@ringmaster/coordinator";
import type { ImageDataset } from "@ringmaster/data";
import { describeIssues, type RunConfig, runConfigSchema } from "@ringmaster/protocol";
import type { TrainingDefinition } from "@ringmaster/training";
import { UsageError } from "../usage-error.ts";

export interface ResolveOptions {
  readonly definition: TrainingDefinition;
  readonly dataset: ImageDataset;
  readonly name: string;
  /** Compute threads that the run starts with; S follows from it where the config leaves it open. */
  readonly threads: number;
  readonly fastDevRun: boolean;
}

/** The part of the training set that is held back unless the config says otherwise. */
const validationShare = 12;

/** Fills in what depends on the dataset and the world. @throws UsageError CONFIG_INVALID with the path to each bad field. */
export function resolveConfig({ definition, dataset, name, threads, fastDevRun }: ResolveOptions): RunConfig {
  const { seats, validation, epochs, data: _data, model: _model, ...plain } = definition;
  const config = {
    ...plain,
    name,
    seats: seats === "auto" ? defaultSeats(definition.batchSize, threads) : seats,
    epochs: fastDevRun ? 1 : epochs,
    validation: { ...validation, count: validation.count ?? Math.floor(dataset.train.count / validationShare) },
    fastDevRun,
  };
  const parsed = runConfigSchema.safeParse(config);
  if (parsed.success) return parsed.data;
  throw new UsageError("CONFIG_INVALID", describeIssues(parsed.error).join("; "));
}
