import { BackendError } from "../backend-error.ts";

/**
 * What a person is told where a program's body failed. Errors with a code say it themselves; the others are tfjs's or the user's own, of which those that many models
 * meet are explained.
 * @param otherwise what is said where nothing is known of the error but its message
 */
export function failedBody(error: unknown, otherwise: (reason: string) => Error): Error {
  if (error instanceof Error && "code" in error && typeof error.code === "string") return error;
  const reason = error instanceof Error ? error.message : String(error);
  const explanation = explain(reason);
  return explanation === undefined
    ? otherwise(reason)
    : new BackendError("MODEL_UNSUPPORTED", explanation, { cause: error });
}

function explain(reason: string): string | undefined {
  const [, lacking] = /gradient function not found for (\w+)/.exec(reason) ?? [];
  if (lacking !== undefined) {
    const found = `found ${lacking}, for which tfjs has none`;
    const advice = "compute it from other ops, or give it a gradient with tf.customGrad";
    return `model: expected ops with a gradient between the parameters and the loss, ${found}; ${advice}`;
  }
  const [, missing, backend] = /Kernel '(\w+)' not registered for backend '(\w+)'/.exec(reason) ?? [];
  if (missing !== undefined) {
    const [here, other] = backend === "wasm" ? ["portable", "tensorflow"] : [backend, "portable"];
    const advice = `compute it from other ops, or try --backend ${other}`;
    return `model: expected ops that the ${here} backend has, found ${missing}, which it has not; ${advice}`;
  }
  return /gradient/i.test(reason) ? `model: its gradient cannot be computed: ${reason}` : undefined;
}
