import tf from "#tfjs";
import { some } from "./kernel-inputs.ts";

export const crossEntropyKernel = "SparseSoftmaxCrossEntropyWithLogits";

/**
 * Softmax cross-entropy of each sample, numerically stable for logits of any size: one op for value and gradient.
 * @param logits [samples, classes] float32
 * @param labels [samples] int32, each in 0..classes-1
 * @returns [samples] float32
 */
export function sparseSoftmaxCrossEntropy(logits: tf.Tensor2D, labels: tf.Tensor1D): tf.Tensor1D {
  const op = tf.customGrad((x: tf.Tensor | tf.GradSaveFunc, save: tf.Tensor | tf.GradSaveFunc) => {
    const outputs = tf.engine().runKernel(crossEntropyKernel, { logits: x as tf.Tensor, labels });
    const [losses, gradient] = outputs as [tf.Tensor, tf.Tensor];
    (save as tf.GradSaveFunc)([gradient]);
    return {
      value: losses,
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.mul(tf.expandDims(dy, 1), some(saved[0])),
    };
  });
  return op(logits) as tf.Tensor1D;
}
