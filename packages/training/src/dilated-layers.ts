/**
 * tf.layers' dilated convolutions. DepthwiseConv2D drops its `dilationRate` and computes another layer without a word; Conv2D computes with it, but in an op
 * whose gradient tfjs refuses. Both go through the plain ops here, which have one (`@ringmaster/backend`).
 */
import { tf } from "@ringmaster/backend";

type LayerCall = (inputs: tf.Tensor | tf.Tensor[], kwargs: unknown) => tf.Tensor | tf.Tensor[];
type Pair = [number, number];

interface Convolution extends tf.layers.Layer {
  readonly kernelSize: Pair;
  readonly strides: Pair;
  readonly dilationRate: Pair;
  readonly padding: "same" | "valid" | "causal";
  readonly dataFormat: "channelsFirst" | "channelsLast";
  readonly kernel: tf.LayerVariable;
  readonly depthwiseKernel: tf.LayerVariable;
  readonly bias: tf.LayerVariable | null;
  readonly activation: { apply(x: tf.Tensor): tf.Tensor } | null;
}
type Convolve = (x: tf.Tensor4D, layer: Convolution, padding: "same" | "valid") => tf.Tensor;

const isDilated = ({ dilationRate }: Convolution): boolean => dilationRate.some((rate) => rate > 1);

let replaced = false;

/** Makes tf.layers' Conv2D and DepthwiseConv2D heed their dilation, in training too; once a thread. */
export function heedDilation(): void {
  if (replaced) return;
  replaced = true;
  replace(tf.layers.conv2d({ filters: 1, kernelSize: 1 }), (x, { kernel, strides, dilationRate }, padding) =>
    tf.conv2d(x, kernel.read() as tf.Tensor4D, strides, padding, "NHWC", dilationRate),
  );
  const depthwise = replace(
    tf.layers.depthwiseConv2d({ kernelSize: 1 }),
    (x, { depthwiseKernel, strides, dilationRate }, padding) =>
      tf.depthwiseConv2d(x, depthwiseKernel.read() as tf.Tensor4D, strides, padding, "NHWC", dilationRate),
  );
  const { computeOutputShape } = depthwise;
  depthwise.computeOutputShape = function (this: Convolution, inputShape) {
    const reach = this.kernelSize.map((size, axis) => (size - 1) * (this.dilationRate[axis] ?? 1) + 1);
    return computeOutputShape.call(Object.create(this, { kernelSize: { value: reach } }), inputShape);
  };
}

interface Prototype {
  call: LayerCall;
  computeOutputShape: tf.layers.Layer["computeOutputShape"];
}

function replace(example: tf.layers.Layer, convolve: Convolve): Prototype {
  const prototype = Object.getPrototypeOf(example) as Prototype;
  const own = prototype.call;
  prototype.call = function (this: Convolution, inputs, kwargs) {
    const input = Array.isArray(inputs) ? inputs[0] : inputs;
    const { padding, dataFormat, bias, activation } = this;
    if (!isDilated(this) || padding === "causal" || input === undefined) return own.call(this, inputs, kwargs);
    return tf.tidy(() => {
      const isFirst = dataFormat === "channelsFirst";
      const convolved = convolve((isFirst ? tf.transpose(input, [0, 2, 3, 1]) : input) as tf.Tensor4D, this, padding);
      const biased = bias ? tf.add(convolved, bias.read()) : convolved;
      const output = isFirst ? tf.transpose(biased, [0, 3, 1, 2]) : biased;
      return activation ? activation.apply(output) : output;
    });
  };
  return prototype;
}
