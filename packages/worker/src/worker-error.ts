/** What ends a worker. `code` is stable and crosses the socket in `WorkerFailed`. */
export class WorkerError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "WorkerError";
    this.code = code;
  }
}

/** The code and the one line of anything thrown: every package's errors carry a code. */
export function explain(error: unknown): { readonly code: string; readonly message: string } {
  if (!(error instanceof Error)) return { code: "UNEXPECTED", message: String(error) };
  const code = "code" in error && typeof error.code === "string" ? error.code : "UNEXPECTED";
  return { code, message: error.message };
}
