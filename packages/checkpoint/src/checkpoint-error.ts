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
  /** What was read back right after it was written is not what was written; nothing was put in place. */
  | "CHECKPOINT_UNVERIFIED"
  /** The disk, or this user's part of it, is full. */
  | "DISK_FULL"
  /** The file system is mounted read-only, or became so after a fault. */
  | "READ_ONLY"
  /** The disk behind the path reports a fault, or is no longer there. */
  | "DISK_GONE"
  /** A file or folder could not be written, renamed, flushed or removed for another reason: a right, a name, something in the way. */
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

/** What lies with the disk and not with what was handed in: the same call may succeed later, nothing else having changed. */
const RETRYABLE: ReadonlySet<CheckpointErrorCode> = new Set([
  "CHECKPOINT_UNVERIFIED",
  "DISK_FULL",
  "READ_ONLY",
  "DISK_GONE",
  "UNWRITABLE",
  "UNREADABLE",
]);

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

  /** Whether the same call may succeed once somebody has seen to the disk. */
  get isRetryable(): boolean {
    return RETRYABLE.has(this.code);
  }
}

/** The `code` of a failed system call (`ENOENT`, `ENOSPC`, …), or undefined where the value is none. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error) || !("syscall" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

interface Failure {
  readonly code: CheckpointErrorCode;
  readonly advice: string;
}

const FULL = "or keep fewer checkpoints, or choose another place with --runs";
const GONE = "check its mount, cable or server; choose another place with --runs if it stays away";

const FAILURES: Readonly<Record<string, Failure>> = {
  EACCES: {
    code: "UNWRITABLE",
    advice: "give this user the right to write there, or choose another place with --runs",
  },
  EDQUOT: { code: "DISK_FULL", advice: `the disk quota is used up: free some of it, ${FULL}` },
  EEXIST: {
    code: "UNWRITABLE",
    advice: "something else is already at that path: move it away, or choose another place with --runs",
  },
  EHOSTDOWN: { code: "DISK_GONE", advice: `the file server does not answer: ${GONE}` },
  EIO: { code: "DISK_GONE", advice: `the disk reports a fault: ${GONE}` },
  ENAMETOOLONG: { code: "UNWRITABLE", advice: "choose a shorter name with --name" },
  ENODEV: { code: "DISK_GONE", advice: `the disk is no longer there: ${GONE}` },
  ENOENT: {
    code: "UNWRITABLE",
    advice:
      "a folder on the way does not exist (or was removed meanwhile): create it, or choose another place with --runs",
  },
  ENOSPC: { code: "DISK_FULL", advice: `the disk is full: free some space, ${FULL}` },
  ENOTCONN: { code: "DISK_GONE", advice: `the file server is not connected: ${GONE}` },
  ENOTDIR: {
    code: "UNWRITABLE",
    advice: "a part of the path is a file, not a folder: choose another place with --runs",
  },
  ENXIO: { code: "DISK_GONE", advice: `the disk is no longer there: ${GONE}` },
  EPERM: {
    code: "UNWRITABLE",
    advice: "give this user the right to write there, or choose another place with --runs",
  },
  EROFS: {
    code: "READ_ONLY",
    advice:
      "the file system is read-only: mount it for writing (after a fault, check it first), or choose another place with --runs",
  },
  ESTALE: { code: "DISK_GONE", advice: `the file server no longer knows this folder: ${GONE}` },
};

const OTHER: Failure = {
  code: "UNWRITABLE",
  advice: "check the place and its file system, or choose another place with --runs",
};

/** Turns a failed system call into the error that says whose fault it is and what to do; anything else passes through unchanged. */
export function unwritable(what: string, path: string, error: unknown): unknown {
  const system = systemCode(error);
  if (system === undefined) return error;
  const { code, advice } = FAILURES[system] ?? OTHER;
  return new CheckpointError(code, `cannot ${what} ${path} (${system}): ${advice}`, { cause: error });
}

/** Turns a failed system call into an `UNREADABLE`; anything else passes through unchanged. */
export function unreadable(path: string, error: unknown): unknown {
  const code = systemCode(error);
  if (code === undefined) return error;
  const advice = "check that the path is right and that this user may read it";
  return new CheckpointError("UNREADABLE", `cannot read ${path} (${code}): ${advice}`, { cause: error });
}
