/**
 * Gradients that tfjs composes from several ops where one kernel does, and those that it lacks. Every backend has the kernels that they name; tfjs registers
 * gradients for all backends of a thread at once.
 */
import tf from "#tfjs";
import { batchNormGradient } from "./batch-norm.ts";
import { broadcastGradients } from "./broadcast-gradients.ts";
import { comparisonGradients } from "./comparisons.ts";
import { cumsumGradient } from "./cumsum.ts";
import { depthToSpaceGradient } from "./depth-to-space.ts";
import { dilatedConv2dGradient, dilatedDepthwiseGradient } from "./dilated-convolution.ts";
import { einsumGradient } from "./einsum.ts";
import { reluGradient } from "./relu.ts";

/** Replaces tfjs's own; call it once a thread, before anything is differentiated. */
export function registerGradients(): void {
  const gradients = [
    reluGradient,
    batchNormGradient,
    dilatedConv2dGradient(tf.getGradient("Conv2D")),
    dilatedDepthwiseGradient(tf.getGradient("DepthwiseConv2dNative")),
    cumsumGradient,
    depthToSpaceGradient,
    einsumGradient,
    ...broadcastGradients(),
    ...comparisonGradients,
  ];
  for (const gradient of gradients) {
    if (tf.getGradient(gradient.kernelName)) tf.unregisterGradient(gradient.kernelName);
    tf.registerGradient(gradient);
  }
}
