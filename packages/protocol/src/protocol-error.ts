/**
 * - `MESSAGE_TOO_LARGE`: more bytes, items or depth than `limits.ts` allows
 * - `MESSAGE_CUT_SHORT`: the bytes end before the value does
 * - `MESSAGE_MALFORMED`: not one msgpack value of the form that this protocol uses
 * - `MESSAGE_UNKNOWN`: well formed, but of a type that nobody knows in this direction
 * - `MESSAGE_INVALID`: of a known type, but a field is not what it must be
 * - `SECRET_MISSING`: a link's proof was asked for without the run's secret
 */
export type ProtocolErrorCode =
  | "MESSAGE_TOO_LARGE"
  | "MESSAGE_CUT_SHORT"
  | "MESSAGE_MALFORMED"
  | "MESSAGE_UNKNOWN"
  | "MESSAGE_INVALID"
  | "SECRET_MISSING";

/** The only thing that this package throws. What it quotes of a message is shortened and escaped, so it may be logged as it is. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  readonly code: ProtocolErrorCode;

  constructor(code: ProtocolErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
