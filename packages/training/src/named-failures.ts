import type { tf } from "@ringmaster/backend";
import { BackendError, failedBody } from "@ringmaster/backend";
import { TrainingError } from "./training-error.ts";

type Layer = tf.layers.Layer;

/** Has whatever is thrown inside a layer's call say which layer it was: the innermost one. */
export function nameFailures(layers: readonly Layer[], nameOf: (name: string) => string): void {
  for (const layer of layers) {
    const call = layer.call.bind(layer);
    layer.call = (inputs, kwargs) => {
      try {
        return call(inputs, kwargs);
      } catch (error) {
        throw named(error, `layer ${nameOf(layer.name)} (${layer.getClassName()}): `);
      }
    };
  }
}

/** Gives what a model throws a code where it has none. */
export function explained<Result>(action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    throw failedBody(error, (reason) => {
      const message = `model: applied to images, it threw: ${reason}`;
      return new TrainingError("MODEL_UNSUPPORTED", message, { cause: error });
    });
  }
}

/** An error of this package is of a layer inside, or of the sign that a step cannot be captured: as it is. */
function named(thrown: unknown, layer: string): Error {
  const options = { cause: thrown };
  const error = failedBody(thrown, (reason) => new TrainingError("MODEL_UNSUPPORTED", `${layer}${reason}`, options));
  if (!(error instanceof BackendError) || error.message.startsWith("layer ")) return error;
  const code = error.code === "OP_FAILED" ? "MODEL_UNSUPPORTED" : error.code;
  return new BackendError(code, `${layer}${error.message}`, options);
}
