/** What is in a checkpoint's folder, believed only as far as the checksums go. */
import { join } from "node:path";
import type { FileToWrite } from "./atomic.ts";
import { CheckpointError } from "./checkpoint-error.ts";
import { corrupt, digestOf, digestOfFile, readWhole } from "./checkpoint-files.ts";
import { type FileDigest, parseRunRecord, type RunRecord } from "./run-record.ts";
import { decodeSafetensors, type NamedTensor } from "./safetensors.ts";

/** A checkpoint's record. @throws CheckpointError `CHECKPOINT_CORRUPT`, `CHECKPOINT_FORMAT_UNSUPPORTED`, `UNREADABLE` */
export async function readRecord(path: string): Promise<RunRecord> {
  const bytes = await readWhole(path);
  try {
    return parseRunRecord(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    if (error instanceof CheckpointError && error.code === "CHECKPOINT_FORMAT_UNSUPPORTED") {
      throw new CheckpointError(
        error.code,
        `${path}: ${error.message}; resume with the version that wrote it, or from an earlier checkpoint`,
      );
    }
    if (error instanceof CheckpointError) throw corrupt(path, error.message, error);
    throw corrupt(path, "expected UTF-8 text", error);
  }
}

/** The tensors in a checkpoint's file. @throws CheckpointError `CHECKPOINT_CORRUPT`, `UNREADABLE` */
export async function readTensors(path: string, expected: FileDigest): Promise<NamedTensor[]> {
  const bytes = await readWhole(path, expected.bytes);
  const found = await digestOf([bytes]);
  if (found.sha256 !== expected.sha256)
    throw corrupt(path, `expected sha256 ${expected.sha256}, found ${found.sha256}`);
  try {
    return decodeSafetensors(bytes).tensors;
  } catch (error) {
    if (error instanceof CheckpointError) throw corrupt(path, `its checksum is right, but ${error.message}`, error);
    throw error;
  }
}

/** Reads back what was written. @throws CheckpointError `CHECKPOINT_UNVERIFIED` */
export async function verifyFiles(
  folder: string,
  files: readonly FileToWrite[],
  digests: readonly FileDigest[],
): Promise<void> {
  for (const [index, { name }] of files.entries()) {
    const path = join(folder, name);
    const expected = digests[index];
    const found = await digestOfFile(path);
    if (expected?.sha256 === found.sha256 && expected.bytes === found.bytes) continue;
    throw new CheckpointError(
      "CHECKPOINT_UNVERIFIED",
      `${path} was written and read back: expected ${expected?.bytes} bytes with sha256 ${expected?.sha256}, found ${found.bytes} with ${found.sha256}; save again, and check the disk and this machine's memory if it goes on`,
    );
  }
}
