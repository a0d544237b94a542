/** Gradients that tfjs leaves in the shape of the result where an operand was broadcast to it: summed over what was repeated, as those of add and multiply are. */
import tf from "#tfjs";
import { some } from "./kernel-inputs.ts";

/** Ops of two operands, both saved for the gradient. */
const names = ["SquaredDifference", "Maximum", "Minimum", "BatchMatMul"];

export const broadcastGradients = (): readonly tf.GradConfig[] =>
  names.map((name) => {
    const own = tf.getGradient(name);
    return {
      ...own,
      gradFunc(dy, saved, attrs) {
        const gradients = own.gradFunc(dy, saved, attrs);
        const [a, b] = [some(saved[0]).shape, some(saved[1]).shape];
        return { a: () => summed(some(gradients["a"])(), a), b: () => summed(some(gradients["b"])(), b) };
      },
    };
  });

function summed(gradient: tf.Tensor, shape: number[]): tf.Tensor {
  if (tf.util.arraysEqual(gradient.shape, shape)) return gradient;
  const axes = tf.broadcast_util.getReductionAxes(shape, gradient.shape);
  return tf.reshape(axes.length > 0 ? tf.sum(gradient, axes) : gradient, shape);
}
