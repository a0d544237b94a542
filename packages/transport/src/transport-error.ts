/** What `@ringmaster/transport` throws. `code` is stable; the message says what was expected, what was found and what to do. */
export class TransportError extends Error {
  readonly code: TransportErrorCode;

  constructor(code: TransportErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "TransportError";
    this.code = code;
  }
}

export type TransportErrorCode =
  | "PORT_TAKEN"
  | "LISTEN_FAILED"
  | "TOKEN_REFUSED"
  | "COORDINATOR_UNREACHABLE"
  | "BAD_ADDRESS";
