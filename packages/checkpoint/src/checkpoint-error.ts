/** Why something about a run's durable state failed; stable, so that programs may branch on it. */
export type CheckpointErrorCode =
  /** The bytes are not the safetensors format: damaged, cut, hostile, or another kind of file. */
  | "SAFETENSORS_MALFORMED"
  /** The header is longer than the format allows (100 MB). */
  | "SAFETENSORS_HEADER_TOO_LARGE"
  /** A well-formed file with a tensor that is not float32. */
  | "SAFETENSORS_DTYPE_UNSUPPORTED"
  /** A tensor handed in to be written is inconsistent (name, shape, length). */
  | "TENSOR_INVALID"
  /** A value handed in to be written has no exact JSON form. */
  | "JSON_INVALID"
  /** A run record handed in to be written breaks its schema. */
  | "RECORD_INVALID"
  /** A checkpoint on disk does not hold what was written. */
  | "CHECKPOINT_CORRUPT"
  /** A checkpoint's run.json states a format that this version does not know. */
  | "CHECKPOINT_FORMAT_UNSUPPORTED"
  /** The step asked for is not in the store. */
  | "CHECKPOINT_MISSING"
  /** A number handed to retention makes no sense. */
  | "RETENTION_INVALID"
  /** A file or folder could not be written, renamed, flushed or removed. */
  | "UNWRITABLE"
  /** A file or folder is there but could not be read. */
  | "UNREADABLE"
  /** A run of this name is already there. */
  | "RUN_EXISTS"
  /** A run's name is not one plain folder name. */
  | "RUN_NAME_INVALID"
  /** A run folder has no config.json. */
  | "CONFIG_MISSING"
  /** A run folder's config.json is not a JSON object. */
  | "CONFIG_INVALID";

/**
 * The one error class of this package. Its message says in one line what was expected, what was found, where, and what to do.
 */
export class CheckpointError extends Error {
  override readonly name = "CheckpointError";
  readonly code: CheckpointErrorCode;

  constructor(code: CheckpointErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The `code` of a failed system call (`ENOENT`, `ENOSPC`, …), or undefined where the value is none. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error) || !("syscall" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

const WHAT_TO_DO: Readonly<Record<string, string>> = {
  EACCES: "give this user the right to write there, or choose another place with --runs",
  EDQUOT: "free some of the disk quota, or choose another place with --runs",
  EEXIST: "something else is already at that path: move it away, or choose another place with --runs",
  EIO: "the disk reports a fault: check it, and choose another place with --runs",
  ENAMETOOLONG: "choose a shorter name with --name",
  ENOENT:
    "a folder on the way does not exist (or was removed meanwhile): create it, or choose another place with --runs",
  ENOSPC: "the disk is full: free some space, or choose another place with --runs",
  ENOTDIR: "a part of the path is a file, not a folder: choose another place with --runs",
  EPERM: "give this user the right to write there, or choose another place with --runs",
  EROFS: "the file system is read-only: choose another place with --runs",
};

/** Turns a failed system call into an `UNWRITABLE` that says what to do; anything else passes through unchanged. */
export function unwritable(what: string, path: string, error: unknown): unknown {
  const code = systemCode(error);
  if (code === undefined) return error;
  const advice = WHAT_TO_DO[code] ?? "check the place and its file system, or choose another place with --runs";
  return new CheckpointError("UNWRITABLE", `cannot ${what} ${path} (${code}): ${advice}`, { cause: error });
}

/** Turns a failed system call into an `UNREADABLE`; anything else passes through unchanged. */
export function unreadable(path: string, error: unknown): unknown {
  const code = systemCode(error);
  if (code === undefined) return error;
  const advice = "check that the path is right and that this user may read it";
  return new CheckpointError("UNREADABLE", `cannot read ${path} (${code}): ${advice}`, { cause: error });
}
