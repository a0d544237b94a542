/** What the coordinator has to know of a checkpoint that states are loaded from. */
import type { LoadedCheckpoint, NamedTensor } from "@ringmaster/checkpoint";
import { runProgressSchema } from "@ringmaster/protocol";
import type { ResumePoint } from "./coordinator-io.ts";

/** @param recorded of the newest checkpoint that the journal has, if it has one */
export function resumePoint(
  { step, model, optimizer, record }: LoadedCheckpoint,
  recorded: { readonly step: number; readonly stateId: string } | null,
): ResumePoint {
  const shaped = ({ name, shape }: NamedTensor) => ({ name, shape: [...shape] });
  return {
    step,
    stateId: loadedStateId({ step, stateHash: record.stateHash }, recorded),
    progress: runProgressSchema.parse(record.progress),
    totalBytes: [...model, ...optimizer].reduce((sum, { data }) => sum + data.byteLength, 0),
    layoutHash: record.layoutHash,
    tensors: { model: model.map(shaped), optimizer: optimizer.map(shaped) },
  };
}

/** The name of the state in a checkpoint, which does not say it: as the journal has it, or else one that follows from its bytes. */
export const loadedStateId = (
  { step, stateHash }: { readonly step: number; readonly stateHash: string },
  recorded: { readonly step: number; readonly stateId: string } | null,
): string => (recorded?.step === step ? recorded.stateId : stateHash.slice(0, 16));
