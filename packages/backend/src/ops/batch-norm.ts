/**
 * Batch normalisation in training, one op forward and one backward (Ioffe and Szegedy, 2015); tfjs composes some forty.
 *
 * The gradient goes through the batch's moments, as that of tfjs's composition does. A kernel hands back two kinds of moments: the batch's, whose
 * variance it corrects for running statistics (n / (n - 1)), and reserved ones for the gradient, whose meaning is the kernel's own.
 */
import tf from "#tfjs";
import { some } from "./kernel-inputs.ts";

export const batchNormForward = "FusedBatchNormV3";
export const batchNormBackward = "FusedBatchNormGradV3";

export const batchNormGradient: tf.GradConfig = {
  kernelName: batchNormForward,
  inputsToSave: ["x", "scale"],
  outputsToSave: [false, false, false, true, true, true],
  gradFunc(dys, saved, attrs) {
    const [x, scale, reserve1, reserve2, reserve3] = saved.map(some) as [tf.Tensor, ...tf.Tensor[]];
    // Of the outputs only the first is differentiable; whoever takes the moments stops their gradient.
    const dy = some(([] as tf.Tensor[]).concat(dys)[0]);
    const inputs = { dy, x, scale, reserve1, reserve2, reserve3 } as tf.NamedTensorMap;
    const [dx, dscale, doffset] = tf.engine().runKernel(batchNormBackward, inputs, attrs) as tf.Tensor[];
    return { x: () => some(dx), scale: () => some(dscale), offset: () => some(doffset) };
  },
};

export interface NormalisedBatch {
  /** Of the input's shape. */
  readonly normalised: tf.Tensor;
  /** [channels], without gradient. */
  readonly mean: tf.Tensor;
  /** [channels], biased (divided by the number of values), without gradient. */
  readonly variance: tf.Tensor;
}

/**
 * Normalises each channel by the moments of the batch at hand, then scales and shifts it.
 * @param input [..., channels] float32, of rank 2 or more, not empty
 * @param scale [channels], ones if null; `offset` likewise, zeros if null
 */
export function batchNormInTraining(
  input: tf.Tensor,
  scale: tf.Tensor | null,
  offset: tf.Tensor | null,
  epsilon: number,
): NormalisedBatch {
  const channels = input.shape.at(-1) ?? 0;
  const values = input.size / channels;
  return tf.tidy(() => {
    const x = input.rank === 4 ? input : tf.reshape(input, [values, 1, 1, channels]);
    const inputs = {
      x,
      scale: scale ?? tf.ones([channels]),
      offset: offset ?? tf.zeros([channels]),
      none: tf.zeros([0]),
    };
    const outputs = tf.engine().runKernel(batchNormForward, inputs, { epsilon }) as tf.Tensor[];
    const [y, mean, corrected] = outputs.map(some) as [tf.Tensor, tf.Tensor, tf.Tensor];
    return {
      normalised: input.rank === 4 ? y : tf.reshape(y, input.shape),
      mean,
      variance: tf.mul(corrected, Math.max(values - 1, 1) / values),
    };
  });
}
