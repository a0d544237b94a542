/** Relu's gradient as one op; tfjs multiplies with a step function of the input, and so must keep it. */
import * as tf from "@tensorflow/tfjs";
import { float, one, type ReplaceKernel, replaceGradient, some } from "./kernel-registry.ts";

export function registerRelu(replace: ReplaceKernel): void {
  replace(
    "ReluGrad",
    () =>
      ({ dy, y }, _attrs, backend) =>
        backend.executeSingleOutput("ReluGrad", [float], [some(dy), some(y)]),
  );
  replaceGradient({
    kernelName: "Relu",
    outputsToSave: [true],
    gradFunc: (dy, [y]) => ({ x: () => tf.engine().runKernel("ReluGrad", { dy: one(dy), y: some(y) }) as tf.Tensor }),
  });
}
