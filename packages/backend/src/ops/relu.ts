/** Relu's gradient as one op; tfjs multiplies with a step function of the input, and so must keep it. */
import tf from "#tfjs";
import { one, some } from "./kernel-inputs.ts";

export const reluGradient: tf.GradConfig = {
  kernelName: "Relu",
  outputsToSave: [true],
  gradFunc: (dy, [y]) => ({ x: () => tf.engine().runKernel("ReluGrad", { dy: one(dy), y: some(y) }) as tf.Tensor }),
};
