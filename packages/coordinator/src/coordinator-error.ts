/** What `@ringmaster/coordinator` throws. `code` is stable. */
export class CoordinatorError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "CoordinatorError";
    this.code = code;
  }
}
