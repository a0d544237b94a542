import { getSystemErrorName } from "node:util";
import { CoordinatorError } from "../coordinator-error.ts";

export type JournalErrorCode =
  /** There is no journal to recover from. */
  | "JOURNAL_MISSING"
  /** What is on disk is not what was written. */
  | "JOURNAL_CORRUPT"
  /** The folder lies on a file system that other machines share. */
  | "JOURNAL_ON_NETWORK"
  /** The system refused to write (disk full, read-only, folder gone); it may be tried again. */
  | "JOURNAL_UNWRITABLE"
  /** Another coordinator of this run is alive. */
  | "RUN_IN_USE"
  /** A newer coordinator of this run has taken over: this one has to end. */
  | "FENCED";

export class JournalError extends CoordinatorError {
  override readonly name = "JournalError";
  declare readonly code: JournalErrorCode;

  constructor(code: JournalErrorCode, message: string, options?: ErrorOptions) {
    super(code, message, options);
  }
}

export function corrupt(folder: string, found: string, options?: ErrorOptions): JournalError {
  return new JournalError(
    "JOURNAL_CORRUPT",
    `expected the coordinator's journal in ${folder} as it was written, found ${found}: go on from the newest checkpoint with \`ringmaster resume\`, which sets this folder aside and starts a new one`,
    options,
  );
}

const WHAT_TO_DO: Readonly<Record<string, string>> = {
  EACCES: "give this user the right to write there",
  EDQUOT: "free some of the disk quota",
  EIO: "the disk is full or reports a fault: free some space, or check it",
  ENOENT: "the folder is not there, or was removed meanwhile: put it back, or end the run",
  ENOSPC: "the disk is full: free some space",
  EPERM: "give this user the right to write there",
  EROFS: "the file system is read-only: mount it so that it can be written",
};

/** Turns a failure of the system or of the database into a `JOURNAL_UNWRITABLE` that says what to do; anything else passes through unchanged. */
export function unwritable(what: string, path: string, error: unknown): unknown {
  const code = systemCode(error);
  if (code === undefined) return error;
  const advice = WHAT_TO_DO[code] ?? "check the place and its file system, or choose another with --runs";
  return new JournalError("JOURNAL_UNWRITABLE", `cannot ${what} ${path} (${code}): ${advice}`, { cause: error });
}

/** `ENOSPC` and the like. Of lmdb, a system's error has its positive number, and one of its own has a negative number and a name in its text. */
function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  if (typeof error.code === "number") return error.code > 0 ? getSystemErrorName(-error.code) : error.message;
  return typeof error.code === "string" && "syscall" in error ? error.code : undefined;
}
