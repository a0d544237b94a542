/** A finished or stopped run, opened for use: its config, its definition and one of its checkpoints. */
import { type LoadedCheckpoint, openCheckpoints } from "@ringmaster/checkpoint";
import { runProgressSchema } from "@ringmaster/protocol";
import type { LoadedDefinition } from "@ringmaster/training";
import { Option } from "commander";
import { UsageError } from "../usage-error.ts";
import { loadRunDefinition, type RunFile, readRunFile } from "./run-record.ts";

export interface OpenedRun {
  readonly file: RunFile;
  readonly loaded: LoadedDefinition;
  readonly checkpoint: LoadedCheckpoint;
}

export const checkpointOption = () =>
  new Option("--checkpoint <which>", "last, best (by validation accuracy), or a step's number").default("last");

/** @throws UsageError RUN_MISSING, BAD_OPTION; CheckpointError */
export async function openRun(runFolder: string, which: string): Promise<OpenedRun> {
  const file = await readRunFile(runFolder);
  const loaded = await loadRunDefinition(runFolder, file);
  const store = openCheckpoints(runFolder);
  const { checkpoint: newest, rejected } = await store.loadNewest();
  for (const { step, reason } of rejected)
    process.stderr.write(`the checkpoint of step ${step} is not used: ${reason}\n`);
  if (!newest) throw new UsageError("RUN_MISSING", `expected a checkpoint in ${runFolder}, found none that is usable`);
  if (which === "last") return { file, loaded, checkpoint: newest };
  if (which === "best") {
    const { best } = runProgressSchema.parse(newest.record.progress);
    if (!best)
      throw new UsageError(
        "BAD_OPTION",
        `${runFolder} has no validation yet to tell the best checkpoint; use --checkpoint last`,
      );
    return { file, loaded, checkpoint: await store.load(best.step) };
  }
  const step = Number(which);
  const steps = await store.list();
  if (!steps.includes(step)) {
    throw new UsageError(
      "BAD_OPTION",
      `--checkpoint: expected last, best or one of ${steps.join(", ")}, found ${which}`,
    );
  }
  return { file, loaded, checkpoint: await store.load(step) };
}
