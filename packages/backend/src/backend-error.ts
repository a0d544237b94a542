/** What `@ringmaster/backend` throws. `code` is stable; the message says what was expected, what was found and what to do. */
export class BackendError extends Error {
  readonly code: BackendErrorCode;

  constructor(code: BackendErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "BackendError";
    this.code = code;
  }
}

export type BackendErrorCode =
  | "LIBTENSORFLOW_MISSING"
  | "LIBTENSORFLOW_DAMAGED"
  | "PLATFORM_UNSUPPORTED"
  | "SETUP_FAILED"
  | "DEVICE_UNAVAILABLE"
  | "PRECISION_UNSUPPORTED"
  | "COMPILER_UNSUPPORTED"
  | "MODEL_UNSUPPORTED"
  | "OP_FAILED"
  | "TENSOR_UNKNOWN"
  | "RANDOM_IN_STEP";
