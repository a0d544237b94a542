/**
 * Gradients that tfjs composes from several ops where one kernel does. Every backend has the kernels that they name; tfjs registers gradients for all backends
 * of a thread at once.
 */
import * as tf from "@tensorflow/tfjs";
import { batchNormGradient } from "./batch-norm.ts";
import { reluGradient } from "./relu.ts";

/** Replaces tfjs's own; call it once a thread, before anything is differentiated. */
export function registerGradients(): void {
  for (const gradient of [reluGradient, batchNormGradient]) {
    if (tf.getGradient(gradient.kernelName)) tf.unregisterGradient(gradient.kernelName);
    tf.registerGradient(gradient);
  }
}
