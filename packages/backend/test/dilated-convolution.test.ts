/** Dilated convolutions and their gradients against sums over taps, each a shifted part of the input. */

import t from "tap";
import tf from "#tfjs";
import { openBackend } from "../src/index.ts";

await openBackend({ backend: "tensorflow", device: "cpu" });
const wave = (shape: readonly [number, number, number, number], phase: number) => {
  const size = shape.reduce((product, length) => product * length, 1);
  return tf.tensor(
    Float32Array.from({ length: size }, (_, i) => Math.sin(1.7 * i + phase)),
    [...shape],
  ) as tf.Tensor4D;
};

type Apply = (x: tf.Tensor4D, filter: tf.Tensor4D) => tf.Tensor4D;
const [height, width, channels, outputs] = [3, 2, 3, 2];
const x = wave([2, 9, 8, channels], 0.3);
const filter = wave([height, width, channels, outputs], 1);

/** Without padding; `tap` multiplies a part of the input with the filter at one place. */
const byTaps =
  (rates: readonly [number, number], tap: (part: tf.Tensor4D, weights: tf.Tensor) => tf.Tensor): Apply =>
  (x, filter) => {
    const [samples, rows, columns] = x.shape;
    const size = [rows - (height - 1) * rates[0], columns - (width - 1) * rates[1]] as const;
    const taps = Array.from({ length: height * width }, (_, index) => {
      const [i, j] = [Math.floor(index / width), index % width];
      const part = tf.slice(x, [0, i * rates[0], j * rates[1], 0], [samples, size[0], size[1], channels]);
      return tap(part, tf.reshape(tf.slice(filter, [i, j, 0, 0], [1, 1, channels, outputs]), [channels, outputs]));
    });
    return tf.addN(taps) as tf.Tensor4D;
  };
const full = (part: tf.Tensor4D, weights: tf.Tensor) => {
  const rows = tf.matMul(tf.reshape(part, [-1, channels]), weights as tf.Tensor2D);
  return tf.reshape(rows, [...part.shape.slice(0, 3), outputs]);
};
const depthwise = (part: tf.Tensor4D, weights: tf.Tensor) =>
  tf.reshape(tf.mul(tf.expandDims(part, 4), weights), [...part.shape.slice(0, 3), channels * outputs]);

const kinds = {
  conv2d: { tap: full, convolve: tf.conv2d },
  depthwiseConv2d: { tap: depthwise, convolve: tf.depthwiseConv2d },
};
for (const [kind, { tap, convolve }] of Object.entries(kinds)) {
  for (const rates of [
    [2, 2],
    [1, 3],
    [3, 1],
  ] as [number, number][]) {
    t.test(`${kind} dilated by ${rates.join(" and ")}: value and gradients are those of its taps`, async (t) => {
      const outcomeOf = (apply: Apply) => {
        const weighted = (x: tf.Tensor, filter: tf.Tensor) => {
          const y = apply(x as tf.Tensor4D, filter as tf.Tensor4D);
          return tf.sum(tf.mul(y, wave(y.shape, 2))) as tf.Scalar;
        };
        return [apply(x, filter), ...tf.grads(weighted)([x, filter])];
      };
      const expected = outcomeOf(byTaps(rates, tap));
      const found = outcomeOf((x, filter) => convolve(x, filter, 1, "valid", "NHWC", rates));
      expected.forEach((each, index) => {
        t.same(found[index]?.shape, each.shape);
        const difference = tf.max(tf.abs(tf.sub(each, found[index] ?? Number.NaN))).dataSync()[0] ?? Number.NaN;
        t.ok(difference < 1e-4, `output ${index}: ${difference}`);
      });
    });
  }
}
