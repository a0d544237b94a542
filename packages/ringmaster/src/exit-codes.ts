/** 0 done, 1 the run failed, 2 wrong usage or config, 130 interrupted after saving. */
export const exitCodes = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** Errors that a person mends by changing a command, a config or a machine's set-up, before a run begins. */
const usageCodes = new Set([
  // command line
  "BAD_OPTION",
  "RUN_MISSING",
  "CONFIG_CHANGED",
  "DATASET_CHANGED",
  "TOKEN_MISSING",
  "PEERS_MISSING",
  // config and model
  "CONFIG_MISSING",
  "CONFIG_BROKEN",
  "CONFIG_INVALID",
  "INVALID_OPTIMIZER",
  "MODEL_UNSUPPORTED",
  "RANDOM_IN_STEP",
  "MORE_RANKS_THAN_SEATS",
  "TOO_MANY_SEATS",
  "BATCH_TOO_LARGE",
  "VALIDATION_TOO_LARGE",
  "OUT_OF_MEMORY",
  // data
  "BAD_ARGUMENT",
  "COUNT_MISMATCH",
  "DATASET_MISSING",
  "FILE_MISSING",
  "FILE_UNREADABLE",
  "IDX_BAD_GZIP",
  "IDX_BAD_MAGIC",
  "IDX_TOO_LARGE",
  "IDX_TRAILING",
  "IDX_TRUNCATED",
  "LABEL_OUT_OF_RANGE",
  "NO_SAMPLES",
  // set-up and run folder
  "LIBTENSORFLOW_MISSING",
  "LIBTENSORFLOW_DAMAGED",
  "PLATFORM_UNSUPPORTED",
  "DEVICE_UNAVAILABLE",
  "PRECISION_UNSUPPORTED",
  "COMPILER_UNSUPPORTED",
  "RUN_EXISTS",
  "RUN_NAME_INVALID",
  "UNREADABLE",
  "UNWRITABLE",
  "DISK_FULL",
  "READ_ONLY",
  "DISK_GONE",
  "JOURNAL_ON_NETWORK",
  "RUN_IN_USE",
  "PORT_TAKEN",
  "BAD_ADDRESS",
]);

export const exitCodeOf = (code: string): number => (usageCodes.has(code) ? exitCodes.usage : exitCodes.failed);

/** The code and the one line of anything thrown; an unexpected error keeps its name, so that it can be reported. */
export function explainError(error: unknown): { readonly code: string; readonly message: string } {
  if (!(error instanceof Error)) return { code: "UNEXPECTED", message: String(error) };
  const code = "code" in error && typeof error.code === "string" ? error.code : "UNEXPECTED";
  const message = error.message.replaceAll(/\s*\n\s*/g, " ");
  return { code, message: code === "UNEXPECTED" ? `${error.name}: ${message}` : message };
}
