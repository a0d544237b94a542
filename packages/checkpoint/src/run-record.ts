/**
 * run.json: what a checkpoint is, beside its tensors.
 *
 * Nothing in it depends on time, host or world, so equal states have equal files. It vouches for the other files by their checksums, and for itself by
 * `recordSha256`, the checksum of its own canonical text without that field; being canonical is part of being sound, so there is no byte of it that can change unseen.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { canonicalJson, isPlainObject } from "./canonical-json.ts";
import { CheckpointError } from "./checkpoint-error.ts";

/** The one format that this version writes and reads. */
const RUN_RECORD_FORMAT = 1;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "expected 64 lower-case hexadecimal digits");
const hash = z.string().min(1).max(256);
const fileDigest = z.strictObject({ sha256, bytes: z.int().min(0) });

const unsealedSchema = z.strictObject({
  format: z.literal(RUN_RECORD_FORMAT),
  step: z.int().min(0),
  layoutHash: hash,
  configHash: hash,
  datasetHash: hash,
  seed: z.int(),
  seats: z.int().min(1),
  progress: z.record(z.string(), z.unknown()),
  optimizer: z.strictObject({ kind: z.string().min(1) }),
  files: z.strictObject({ model: fileDigest, optimizer: fileDigest }),
  stateHash: hash,
});
const sealedSchema = unsealedSchema.extend({ recordSha256: sha256 });

type UnsealedRunRecord = z.infer<typeof unsealedSchema>;

/** Size in bytes and SHA-256 (lower-case hexadecimal) of one file of a checkpoint. */
export type FileDigest = z.infer<typeof fileDigest>;

/**
 * A checkpoint's run.json. `progress` is an opaque JSON object, checked by whoever put it there; the hashes of layout, config, dataset and state are
 * opaque texts of 1 to 256 characters.
 */
export type RunRecord = z.infer<typeof sealedSchema>;

/**
 * Completes a record with its own checksum.
 *
 * @throws CheckpointError `RECORD_INVALID`, or `JSON_INVALID` where `progress` holds what JSON cannot carry
 */
export function sealRunRecord(record: UnsealedRunRecord): RunRecord {
  const parsed = unsealedSchema.safeParse(record);
  if (!parsed.success) {
    throw new CheckpointError(
      "RECORD_INVALID",
      `cannot write this run record: ${describe(parsed.error)}; correct what is handed to save()`,
    );
  }
  // The record itself, not what zod made of it, which lacks a key `__proto__` in progress instead of refusing it.
  return { ...record, recordSha256: sealOf(record) };
}

function sealOf(record: UnsealedRunRecord): string {
  return createHash("sha256").update(canonicalJson(record)).digest("hex");
}

/**
 * Reads a run.json.
 *
 * @param text the whole file
 * @throws CheckpointError `CHECKPOINT_CORRUPT`, `CHECKPOINT_FORMAT_UNSUPPORTED`; the message has no path and no advice: the caller adds them
 */
export function parseRunRecord(text: string): RunRecord {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw corrupt("expected JSON, found text that is none", error);
  }
  if (isPlainObject(json) && Number.isSafeInteger(json.format) && json.format !== RUN_RECORD_FORMAT) {
    throw new CheckpointError(
      "CHECKPOINT_FORMAT_UNSUPPORTED",
      `expected format ${RUN_RECORD_FORMAT}, found ${json.format} (written by another version, or damaged)`,
    );
  }
  const parsed = sealedSchema.safeParse(json);
  if (!parsed.success) throw corrupt(describe(parsed.error));
  const { recordSha256, ...unsealed } = parsed.data;
  const found = sealOf(unsealed);
  if (found !== recordSha256) throw corrupt(`expected recordSha256 ${recordSha256}, found ${found}`);
  if (canonicalJson(parsed.data) !== text)
    throw corrupt("expected canonical JSON, found the same values written otherwise");
  return parsed.data;
}

function corrupt(message: string, cause?: unknown): CheckpointError {
  return new CheckpointError("CHECKPOINT_CORRUPT", message, cause === undefined ? undefined : { cause });
}

function describe(error: z.ZodError): string {
  return error.issues.map(({ path, message }) => `${path.join(".") || "the whole"}: ${message}`).join(", ");
}
