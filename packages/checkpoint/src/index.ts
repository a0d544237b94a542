export { type FileToWrite, removeLeftovers, writeFileAtomically, writeFolderAtomically } from "./atomic.ts";
export { canonicalJson } from "./canonical-json.ts";
export { CheckpointError, type CheckpointErrorCode } from "./checkpoint-error.ts";
export { createRunFolder, nextRunName, readConfig, writeConfig } from "./run-folder.ts";
export type { FileDigest, RunRecord } from "./run-record.ts";
export { type DecodedSafetensors, decodeSafetensors, encodeSafetensors, type NamedTensor } from "./safetensors.ts";
export {
  type CheckpointStore,
  type CheckpointToSave,
  type LoadedCheckpoint,
  openCheckpoints,
  type RejectedCheckpoint,
  type Retained,
  type RetentionPolicy,
  type SavedCheckpoint,
} from "./store.ts";
