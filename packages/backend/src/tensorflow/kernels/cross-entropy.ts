import tf from "#tfjs";
import { dataTypes } from "../../libtensorflow/dtypes.ts";
import { crossEntropyKernel } from "../../ops/cross-entropy.ts";
import { some } from "../../ops/kernel-inputs.ts";
import { float, type Kernel, type ReplaceKernel, typeFlag } from "./kernel-registry.ts";

export function registerCrossEntropy(replace: ReplaceKernel, device: "cpu" | "gpu"): void {
  replace(crossEntropyKernel, () => (device === "gpu" ? composedCrossEntropy : fusedCrossEntropy));
}

const fusedCrossEntropy: Kernel = ({ logits, labels }, _attrs, backend) => {
  const inputs = [some(logits), some(labels)];
  return backend.executeMultipleOutputs(crossEntropyKernel, [float, typeFlag("Tlabels", dataTypes.int32)], inputs, 2);
};

/** TensorFlow's op has no deterministic kernel for GPUs, and refuses where determinism is asked for. */
export const composedCrossEntropy: Kernel = ({ logits, labels }) =>
  tf.tidy(() => {
    const x = some(logits) as tf.Tensor2D;
    const isLabel = tf.oneHot(some(labels) as tf.Tensor1D, x.shape[1], 1, 0, "float32");
    const logProbabilities = tf.logSoftmax(x);
    return [tf.neg(tf.sum(tf.mul(isLabel, logProbabilities), 1)), tf.sub(tf.exp(logProbabilities), isLabel)];
  });
