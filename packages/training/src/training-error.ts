/**
 * What this package throws.
 *
 * `code` is stable and made for programs; `message` says in one line what was expected, what was found, where, and what to do.
 */
export class TrainingError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "TrainingError";
    this.code = code;
  }
}
