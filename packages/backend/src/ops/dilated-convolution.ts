/**
 * Gradients of dilated convolutions, which tfjs refuses. A convolution whose taps lie `d` apart is an undilated one with a larger filter that has
 * d - 1 zeros between its taps; so the ordinary gradients are taken with that filter, and of the filter's own gradient the taps' places alone are kept.
 */
import tf from "#tfjs";
import { one, some } from "./kernel-inputs.ts";

type Rates = readonly [height: number, width: number];

/** @param own tfjs's gradient, which goes on where nothing is dilated */
export const dilatedConv2dGradient = (own: tf.GradConfig): tf.GradConfig => dilatedGradient(own, "Conv2D");
export const dilatedDepthwiseGradient = (own: tf.GradConfig): tf.GradConfig =>
  dilatedGradient(own, "DepthwiseConv2dNative");

function dilatedGradient(own: tf.GradConfig, name: "Conv2D" | "DepthwiseConv2dNative"): tf.GradConfig {
  return {
    ...own,
    gradFunc(dys, saved, attrs) {
      const [height, width] = [attrs["dilations"] ?? 1].flat().map(Number);
      const rates: Rates = [height ?? 1, width ?? height ?? 1];
      if (rates.every((rate) => rate === 1)) return own.gradFunc(dys, saved, attrs);
      const dy = one(dys);
      const [x, filter] = saved.map(some) as [tf.Tensor, tf.Tensor4D];
      const undilated = { ...attrs, dilations: name === "Conv2D" ? 1 : [1, 1] };
      const run = (gradient: string, inputs: tf.NamedTensorMap, shape: tf.NamedAttrMap): tf.Tensor =>
        tf.engine().runKernel(`${name}${gradient}`, inputs, { ...undilated, ...shape }) as tf.Tensor;
      return {
        x: () => run("BackpropInput", { dy, filter: spread(filter, rates) }, { inputShape: x.shape }),
        filter: () => {
          const filterShape = spreadShape(filter.shape, rates);
          return gather(run("BackpropFilter", { x, dy }, { filterShape }), filter.shape, rates);
        },
      };
    },
  };
}

type FilterShape = tf.Tensor4D["shape"];

const spreadShape = ([height, width, from, to]: FilterShape, [down, across]: Rates): FilterShape => [
  (height - 1) * down + 1,
  (width - 1) * across + 1,
  from,
  to,
];

/** The filter with zeros between its taps. */
function spread(filter: tf.Tensor4D, rates: Rates): tf.Tensor {
  const [height, width, from, to] = filter.shape;
  const [down, across] = rates;
  const apart = tf.pad(tf.reshape(filter, [height, 1, width, 1, from * to]), [
    [0, 0],
    [0, down - 1],
    [0, 0],
    [0, across - 1],
    [0, 0],
  ]);
  const whole = tf.reshape(apart, [height * down, width * across, from, to]);
  return tf.slice(whole, [0, 0, 0, 0], spreadShape(filter.shape, rates));
}

/** Of a spread filter's gradient what belongs to the taps. */
function gather(gradient: tf.Tensor, [height, width, from, to]: FilterShape, [down, across]: Rates): tf.Tensor {
  const whole = tf.pad(gradient, [
    [0, down - 1],
    [0, across - 1],
    [0, 0],
    [0, 0],
  ]);
  const apart = tf.reshape(whole, [height, down, width, across, from * to]);
  return tf.reshape(tf.slice(apart, [0, 0, 0, 0, 0], [height, 1, width, 1, from * to]), [height, width, from, to]);
}
