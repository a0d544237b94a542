/** Batch normalisation, cross-entropy and whole layers on the portable backend. */

import t from "tap";
import tf from "#tfjs";
import { batchNormInTraining } from "../src/ops/batch-norm.ts";
import { sparseSoftmaxCrossEntropy } from "../src/ops/cross-entropy.ts";
import { openPortableBackend } from "../src/portable/portable-backend.ts";
import { wave } from "./fixtures/captured-function.ts";
import { registerOnCpu, relativeError } from "./fixtures/reference-kernels.ts";

await openPortableBackend();
registerOnCpu();

const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const tensor = (shape: number[], phase = 0) => tf.tensor(wave(sizeOf(shape), phase), shape);
const values = (x: tf.Tensor) => x.dataSync().slice() as Float32Array;

t.test("batch normalisation and its gradient are those of its definition", async (t) => {
  for (const shape of [
    [4, 3, 3, 8],
    [1, 5, 4, 3],
    [64, 7],
    [700, 1, 1, 5],
    [2, 3, 4, 2, 6],
  ]) {
    const channels = shape.at(-1) ?? 1;
    const rows = sizeOf(shape) / channels;
    const axes = shape.slice(0, -1).map((_, i) => i);
    const inputs = [tensor(shape), tensor([channels], 1), tensor([channels], 2)];
    const weights = tensor(shape, 3);
    const ours = (x: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) =>
      batchNormInTraining(x, scale, offset, 1e-3).normalised;
    const plain = (x: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) => {
      const centred = tf.sub(x, tf.mean(x, axes, true));
      const variance = tf.mean(tf.square(centred), axes, true);
      return tf.add(tf.mul(tf.div(centred, tf.sqrt(tf.add(variance, 1e-3))), scale), offset);
    };
    const all = (f: typeof ours) => {
      const weighted = (x: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) =>
        tf.sum(tf.mul(f(x, scale, offset), weights)) as tf.Scalar;
      const [x, scale, offset] = inputs as [tf.Tensor, tf.Tensor, tf.Tensor];
      return [f(x, scale, offset), ...tf.grads(weighted as (...args: tf.Tensor[]) => tf.Scalar)(inputs)].map(values);
    };
    await tf.setBackend("wasm");
    const found = all(ours);
    const { mean, variance } = batchNormInTraining(inputs[0] as tf.Tensor, null, null, 1e-3);
    const moments = [mean, variance].map(values);
    await tf.setBackend("cpu");
    all(plain).forEach((expected, i) => {
      const error = relativeError(found[i], expected);
      t.ok(error < 1e-5, `${shape.join("x")}, result ${i}: ${error}`);
    });
    const x = inputs[0] as tf.Tensor;
    const expected = tf.moments(x, axes);
    t.ok(relativeError(moments[0], values(expected.mean)) < 1e-5, `mean over ${rows}`);
    t.ok(relativeError(moments[1], values(expected.variance)) < 1e-5, `variance over ${rows}`);
    await tf.setBackend("wasm");
  }
});

t.test("batch normalisation of one value a channel, and far from zero", async (t) => {
  const { normalised, variance } = batchNormInTraining(tf.ones([1, 1, 1, 4]), null, null, 1e-3);
  t.same([...normalised.dataSync()], [0, 0, 0, 0]);
  t.same([...variance.dataSync()], [0, 0, 0, 0]);
  const shifted = tf.add(tensor([4096, 3]), 1000);
  const found = batchNormInTraining(shifted, null, null, 0);
  const expected = tf.moments(tf.sub(shifted, 1000), 0).variance;
  t.ok(relativeError(values(found.variance), values(expected)) < 1e-3);
});

t.test("softmax cross-entropy and its gradient, also of large logits", async (t) => {
  for (const [scale, rows, classes] of [
    [1, 7, 10],
    [3, 1, 1],
    [50, 5, 1000],
    [1e4, 4, 3],
  ] as const) {
    const logits = tf.mul(tensor([rows, classes], 4), scale) as tf.Tensor2D;
    const labels = Array.from({ length: rows }, (_, i) => (i * 7) % classes);
    const labelled = tf.tensor1d(labels, "int32");
    const weights = tensor([rows], 5);
    const losses = values(sparseSoftmaxCrossEntropy(logits, labelled));
    const gradient = values(
      tf.grad((x: tf.Tensor) => tf.sum(tf.mul(sparseSoftmaxCrossEntropy(x as tf.Tensor2D, labelled), weights)))(logits),
    );
    const numbers = values(logits);
    const expectedLosses = new Float32Array(rows);
    const expectedGradient = new Float32Array(rows * classes);
    labels.forEach((label, row) => {
      const own = Array.from(numbers.subarray(row * classes, (row + 1) * classes));
      const highest = Math.max(...own);
      const sum = own.reduce((total, value) => total + Math.exp(value - highest), 0);
      expectedLosses[row] = highest + Math.log(sum) - (own[label] ?? 0);
      own.forEach((value, c) => {
        const weight = weights.dataSync()[row] ?? 0;
        expectedGradient[row * classes + c] = weight * (Math.exp(value - highest) / sum - Number(c === label));
      });
    });
    t.ok(relativeError(losses, expectedLosses) < 1e-6, `losses, ${rows} x ${classes} x ${scale}`);
    t.ok(relativeError(gradient, expectedGradient) < 1e-6, `gradient, ${rows} x ${classes} x ${scale}`);
  }
  const wrong = values(sparseSoftmaxCrossEntropy(tensor([2, 3]) as tf.Tensor2D, tf.tensor1d([3, -1], "int32")));
  t.ok(wrong.every(Number.isNaN), "a label that is no class gives NaN");
});

const l = tf.layers;
const image = [9, 8, 4];
const activations = [
  "elu",
  "hardSigmoid",
  "linear",
  "relu",
  "relu6",
  "selu",
  "sigmoid",
  "softmax",
  "softplus",
  "softsign",
  "tanh",
  "swish",
  "mish",
  "gelu",
] as const;
const layers: [name: string, input: number[], layer: () => tf.layers.Layer][] = [
  ["conv1d", [11, 3], () => l.conv1d({ filters: 5, kernelSize: 3, strides: 2, padding: "same" })],
  ["conv2d", image, () => l.conv2d({ filters: 6, kernelSize: 3, padding: "same", activation: "relu" })],
  ["conv2d, strides", image, () => l.conv2d({ filters: 6, kernelSize: [3, 2], strides: 2, useBias: false })],
  ["conv2dTranspose", image, () => l.conv2dTranspose({ filters: 3, kernelSize: 3, strides: 2, padding: "same" })],
  [
    "separableConv2d",
    image,
    () => l.separableConv2d({ filters: 6, kernelSize: 3, depthMultiplier: 2, padding: "same" }),
  ],
  [
    "depthwiseConv2d",
    image,
    () => l.depthwiseConv2d({ kernelSize: 3, strides: 2, padding: "same", depthMultiplier: 2 }),
  ],
  ["maxPooling1d", [11, 3], () => l.maxPooling1d({ poolSize: 2 })],
  ["maxPooling2d", image, () => l.maxPooling2d({ poolSize: 2, padding: "same" })],
  ["averagePooling1d", [12, 3], () => l.averagePooling1d({ poolSize: 3 })],
  ["averagePooling2d", image, () => l.averagePooling2d({ poolSize: 2 })],
  ["globalAveragePooling1d", [11, 3], () => l.globalAveragePooling1d()],
  ["globalAveragePooling2d", image, () => l.globalAveragePooling2d({})],
  ["globalMaxPooling1d", [11, 3], () => l.globalMaxPooling1d()],
  ["globalMaxPooling2d", image, () => l.globalMaxPooling2d({})],
  ["batchNormalization", image, () => l.batchNormalization()],
  ["layerNormalization", image, () => l.layerNormalization()],
  ["dense", [7], () => l.dense({ units: 20, activation: "relu" })],
  ["dense of a sequence", [5, 7], () => l.dense({ units: 20 })],
  ["embedding", [5], () => l.embedding({ inputDim: 4, outputDim: 3 })],
  ["lstm", [5, 3], () => l.lstm({ units: 4 })],
  ["gru", [5, 3], () => l.gru({ units: 4, returnSequences: true })],
  ["upSampling2d", image, () => l.upSampling2d({ size: [2, 3] })],
  [
    "zeroPadding2d",
    image,
    () =>
      l.zeroPadding2d({
        padding: [
          [1, 2],
          [0, 1],
        ],
      }),
  ],
  [
    "cropping2D",
    image,
    () =>
      l.cropping2D({
        cropping: [
          [1, 2],
          [0, 1],
        ],
      }),
  ],
  ["reshape", image, () => l.reshape({ targetShape: [8, 36] })],
  ["permute", image, () => l.permute({ dims: [3, 1, 2] })],
  ["repeatVector", [7], () => l.repeatVector({ n: 3 })],
  ["flatten", image, () => l.flatten()],
  ["prelu", image, () => l.prelu({ sharedAxes: [1, 2], alphaInitializer: tf.initializers.constant({ value: 0.3 }) })],
  ["leakyReLU", image, () => l.leakyReLU({ alpha: 0.2 })],
  ["elu", image, () => l.elu()],
  ["softmax", image, () => l.softmax({ axis: -1 })],
  ["reLU", image, () => l.reLU({ maxValue: 0.5 })],
  ...activations.map((activation): [string, number[], () => tf.layers.Layer] => [
    activation,
    [6, 5],
    () => l.dense({ units: 8, activation }),
  ]),
];

for (const [name, inputShape, make] of layers) {
  t.test(`a layer's output and gradients are those of tfjs's CPU backend: ${name}`, async (t) => {
    await tf.setBackend("wasm");
    // Of several images, the CPU backend gets the gradient of resizing wrong.
    const shape = [name === "upSampling2d" ? 1 : 3, ...inputShape];
    const x =
      name === "embedding"
        ? tf.tensor(
            Array.from({ length: 15 }, (_, i) => i % 4),
            shape,
          )
        : tensor(shape, 1);
    const layer = make();
    layer.apply(x);
    layer.setWeights(
      layer
        .getWeights()
        .map((weight, i) => tf.add(tf.mul(tensor(weight.shape, i + 2), 0.5), weight.rank === 1 ? 0.8 : 0)),
    );
    const variables = layer.trainableWeights.map((weight) => weight.read() as tf.Variable);
    const apply = (input: tf.Tensor) => layer.apply(input, { training: true }) as tf.Tensor;
    const weights = tensor(apply(x).shape, 9);
    const all = () => {
      const loss = (input: tf.Tensor) => tf.sum(tf.mul(apply(input), weights)) as tf.Scalar;
      const toInput = name === "embedding" ? [] : [tf.grad(loss)(x)];
      const toVariables = variables.length === 0 ? [] : Object.values(tf.variableGrads(() => loss(x), variables).grads);
      return [apply(x), ...toInput, ...toVariables].map(values);
    };
    const found = all();
    await tf.setBackend("cpu");
    const expected = all();
    t.equal(found.length, expected.length);
    expected.forEach((each, i) => {
      const error = relativeError(found[i], each);
      t.ok(error < 1e-5, `${name}, result ${i}: ${error.toExponential(1)}`);
    });
  });
}
