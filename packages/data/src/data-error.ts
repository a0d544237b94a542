/** What can be wrong with data, by a name that stays the same between versions. */
export type DataErrorCode =
  | "BAD_ARGUMENT"
  | "BATCH_TOO_LARGE"
  | "COUNT_MISMATCH"
  | "DATASET_MISSING"
  | "FILE_MISSING"
  | "FILE_UNREADABLE"
  | "ID_OUT_OF_RANGE"
  | "IDX_BAD_GZIP"
  | "IDX_BAD_MAGIC"
  | "IDX_TOO_LARGE"
  | "IDX_TRAILING"
  | "IDX_TRUNCATED"
  | "IMAGE_UNREADABLE"
  | "LABEL_OUT_OF_RANGE"
  | "NO_SAMPLES"
  | "SHAPE_MISMATCH"
  | "TOO_MANY_SEATS"
  | "VALIDATION_TOO_LARGE";

/** Every error that this package throws on purpose. The message says what was expected, what was found, where, and what to do. */
export class DataError extends Error {
  override readonly name = "DataError";
  readonly code: DataErrorCode;

  constructor(code: DataErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
