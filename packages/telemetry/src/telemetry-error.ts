/** What can go wrong in telemetry; a program tests the code, a person reads the message. */
export type TelemetryErrorCode =
  /** A confusion matrix whose counts, classes or names do not fit together. */
  | "BAD_CONFUSION_MATRIX"
  /** A line of a metrics file that is not a metrics record. */
  | "MALFORMED_METRICS"
  /** The metrics file cannot be opened or written (told to `onError`, never thrown). */
  | "METRICS_WRITE_FAILED"
  /** A record was appended after `close()` (told to `onError`, never thrown). */
  | "METRICS_CLOSED";

export class TelemetryError extends Error {
  readonly code: TelemetryErrorCode;

  constructor(code: TelemetryErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "TelemetryError";
    this.code = code;
  }
}
