import { openBackend, tf } from "@ringmaster/backend";
import t from "tap";
import { buildModel, type ModelInput } from "../src/index.ts";

await openBackend({ backend: "tensorflow", device: "cpu" });
const input: ModelInput = { imageShape: [8, 8, 1], classes: 3 };
const { layers } = tf;

const cnn = () =>
  tf.sequential({
    layers: [
      layers.conv2d({ filters: 2, kernelSize: 3, inputShape: [8, 8, 1] }),
      layers.batchNormalization(),
      layers.conv2d({ filters: 2, kernelSize: 3, activation: "relu" }),
      layers.dropout({ rate: 0.5 }),
      layers.flatten(),
      layers.dense({ units: 4 }),
      layers.dense({ name: "logits", units: 3 }),
    ],
  });
const build = (make: (input: ModelInput) => tf.LayersModel, seed = 1) => buildModel(make, input, seed);
const names = (weights: readonly { name: string }[]) => weights.map(({ name }) => name);
const values = ({ parameters, statistics }: ReturnType<typeof build>) =>
  [...parameters, ...statistics].map(({ variable }) => [...variable.dataSync()]);

t.test("weights are named by the model alone, however many were built before", async (t) => {
  const expected = [
    ...["conv2d/kernel", "conv2d/bias", "batch_normalization/gamma", "batch_normalization/beta"],
    ...["conv2d_1/kernel", "conv2d_1/bias", "dense/kernel", "dense/bias", "logits/kernel", "logits/bias"],
  ];
  for (const time of ["first", "second", "third"]) {
    const model = build(cnn);
    t.same(names(model.parameters), expected, time);
    t.same(names(model.statistics), ["batch_normalization/moving_mean", "batch_normalization/moving_variance"]);
    t.same(model.parameters[0]?.shape, [3, 3, 1, 2]);
  }
});

t.test("layers inside of layers are named by the model alone too", async (t) => {
  const nested = () =>
    tf.sequential({
      layers: [
        tf.sequential({
          layers: [
            layers.conv2d({ filters: 2, kernelSize: 3, inputShape: [8, 8, 1] }),
            layers.conv2d({ filters: 2, kernelSize: 3 }),
          ],
        }),
        layers.reshape({ targetShape: [4, 8] }),
        layers.timeDistributed({ layer: layers.dense({ units: 2 }) }),
        layers.bidirectional({ layer: layers.lstm({ units: 2 }) as tf.RNN, mergeMode: "concat" }),
        layers.dense({ units: 3 }),
      ],
    });
  const [one, other] = [build(nested), build(nested)];
  t.same(names(other.parameters), names(one.parameters));
  t.equal(new Set(names(one.parameters)).size, one.parameters.length);
  for (const name of names(one.parameters)) t.notMatch(name, /[A-Z][A-Za-z0-9]*\d/, name);
});

t.test("freezing a layer moves its weights to the statistics and renames none", async (t) => {
  const frozen = build(() => {
    const model = cnn();
    const [first] = model.layers;
    if (first) first.trainable = false;
    return model;
  });
  t.same(names(frozen.parameters).sort(), names(build(cnn).parameters).slice(2).sort());
  t.same(names(frozen.statistics).slice(0, 2), ["conv2d/kernel", "conv2d/bias"]);
});

t.test(
  "a layer that the user called like an automatic one keeps its name, and the automatic one gets another",
  async (t) => {
    const model = build(() =>
      tf.sequential({
        layers: [
          layers.flatten({ inputShape: [8, 8, 1] }),
          layers.dense({ units: 4 }),
          layers.dense({ name: "dense", units: 4 }),
          layers.dense({ units: 3 }),
        ],
      }),
    );
    t.same(
      names(model.parameters).filter((name) => name.endsWith("kernel")),
      ["dense_1/kernel", "dense/kernel", "dense_2/kernel"],
    );
  },
);

t.test("initial weights are a function of the seed", async (t) => {
  const [one, again, other] = [build(cnn, 1), build(cnn, 1), build(cnn, 2)].map(values);
  t.same(again, one);
  t.notSame(other, one);
  t.notSame(one?.[0]?.slice(0, 18), one?.[4]?.slice(0, 18), "layers differ");
  const seeds = [0, 1, 2, 3, 2 ** 31, 2 ** 32 - 1];
  t.equal(new Set(seeds.map((seed) => JSON.stringify(values(build(cnn, seed))[0]))).size, seeds.length);
});

t.test("Math.random is JavaScript's again after a model was built, and after one that failed", async (t) => {
  const { random } = Math;
  build(cnn);
  t.equal(Math.random, random);
  t.throws(
    () =>
      build(() => {
        throw new RangeError("the user's");
      }),
    { code: "MODEL_UNSUPPORTED", message: /the config's function threw: the user's/ },
  );
  t.equal(Math.random, random);
});

t.test("the model is made for the dataset's images and classes", async (t) => {
  let given: ModelInput | undefined;
  build((input) => {
    given = input;
    return cnn();
  });
  t.same(given, input);
});

const flat = (...rest: tf.layers.Layer[]) =>
  tf.sequential({ layers: [layers.flatten({ inputShape: [8, 8, 1] }), ...rest] });
const image = () => tf.input({ shape: [8, 8, 1] });
const dense = (from: tf.SymbolicTensor) =>
  layers.dense({ units: 3 }).apply(layers.flatten().apply(from)) as tf.SymbolicTensor;

const unsupported: Record<string, { make: () => unknown; message: RegExp }> = {
  "softmax as the last activation": {
    make: () => flat(layers.dense({ name: "out", units: 3, activation: "softmax" })),
    message: /expected logits, found layer out with activation softmax: remove the activation/,
  },
  "softmax as an activation layer": {
    make: () => flat(layers.dense({ units: 3 }), layers.activation({ activation: "softmax" })),
    message: /expected logits, found layer .* with activation softmax/,
  },
  "a softmax layer": {
    make: () => flat(layers.dense({ units: 3 }), layers.softmax()),
    message: /expected logits, found layer .*softmax/,
  },
  "softmax at the end of a model inside the model": {
    make: () =>
      tf.sequential({
        layers: [
          layers.flatten({ inputShape: [8, 8, 1] }),
          tf.sequential({ layers: [layers.dense({ units: 3, activation: "softmax", inputShape: [64] })] }),
        ],
      }),
    message: /expected logits, found layer .*softmax/,
  },
  "images of another shape": {
    make: () => tf.sequential({ layers: [layers.flatten({ inputShape: [28, 28, 1] }), layers.dense({ units: 3 })] }),
    message: /expected images of shape \[batch, 8, 8, 1\], found \[batch, 28, 28, 1\]/,
  },
  "images without channels": {
    make: () => tf.sequential({ layers: [layers.flatten({ inputShape: [8, 8] }), layers.dense({ units: 3 })] }),
    message: /expected images of shape \[batch, 8, 8, 1\], found \[batch, 8, 8\]/,
  },
  "another number of classes": {
    make: () => flat(layers.dense({ units: 10 })),
    message: /expected one logit a class of shape \[batch, 3\], found \[batch, 10\]/,
  },
  "logits that are not flat": {
    make: () => tf.sequential({ layers: [layers.conv2d({ filters: 3, kernelSize: 8, inputShape: [8, 8, 1] })] }),
    message: /expected one logit a class of shape \[batch, 3\], found \[batch, 1, 1, 3\]/,
  },
  "two outputs": {
    make: () => {
      const from = image();
      return tf.model({ inputs: from, outputs: [dense(from), dense(from)] });
    },
    message: /expected one input and one output, found 1 inputs and 2 outputs/,
  },
  "two inputs": {
    make: () => {
      const inputs = [image(), image()];
      return tf.model({ inputs, outputs: dense(layers.add().apply(inputs) as tf.SymbolicTensor) });
    },
    message: /expected one input and one output, found 2 inputs and 1 outputs/,
  },
  "an empty model": { make: () => tf.sequential(), message: /expected one input and one output, found 0 inputs and 0/ },
  "no trainable weights": {
    make: () => {
      const model = flat(layers.dense({ units: 3 }));
      model.trainable = false;
      return model;
    },
    message: /expected trainable weights, found none/,
  },
  "two weights of one name": {
    make: () => {
      const half = (name: string) =>
        tf.sequential({ name, layers: [layers.dense({ name: "same", units: 64, inputShape: [64] })] });
      return flat(half("a"), half("b"), layers.dense({ units: 3 }));
    },
    message: /expected weights of different names, found same\/kernel twice/,
  },
  "a promise": { make: () => Promise.resolve(cnn()), message: /expected a function that returns a tf\.LayersModel/ },
  "a layer": { make: () => layers.dense({ units: 3 }), message: /expected a function that returns a tf\.LayersModel/ },
  nothing: { make: () => undefined, message: /expected a function that returns a tf\.LayersModel/ },
};
for (const [name, { make, message }] of Object.entries(unsupported)) {
  t.test(`a model that cannot be trained is refused: ${name}`, async (t) => {
    t.throws(() => build(make as () => tf.LayersModel), { name: "TrainingError", code: "MODEL_UNSUPPORTED", message });
  });
}

const l2 = () => tf.regularizers.l2({ l2: 1 });
const rows = () => layers.reshape({ targetShape: [8, 8], inputShape: [8, 8, 1] });
const recurrent = { units: 3, kernelRegularizer: l2(), recurrentRegularizer: l2() };
const penalised: Record<string, () => tf.LayersModel> = {
  "a layer that is used twice": () => {
    const images = tf.input({ shape: [8, 8, 1] });
    const dense = layers.dense({ units: 64, useBias: false, kernelRegularizer: l2() });
    const features = dense.apply(dense.apply(layers.flatten().apply(images))) as tf.SymbolicTensor;
    return tf.model({ inputs: images, outputs: layers.dense({ units: 3 }).apply(features) as tf.SymbolicTensor });
  },
  "a recurrent layer's cell": () => tf.sequential({ layers: [rows(), layers.lstm(recurrent)] }),
  "both directions": () =>
    tf.sequential({
      layers: [rows(), layers.bidirectional({ layer: layers.gru(recurrent) as tf.RNN, mergeMode: "sum" })],
    }),
  "a layer for each row": () => {
    const dense = layers.dense({ units: 3, kernelRegularizer: l2() });
    return tf.sequential({ layers: [rows(), layers.timeDistributed({ layer: dense }), layers.globalMaxPooling1d({})] });
  },
};
for (const [name, make] of Object.entries(penalised)) {
  t.test(`the penalty on each weight of ${name} counts once`, async (t) => {
    const model = build(make);
    const found = model.penalties().reduce((sum, penalty) => sum + (penalty.dataSync()[0] ?? Number.NaN), 0);
    const all = model.parameters.filter(({ name: weight }) => /kernel/.test(weight) && !/dense_1/.test(weight));
    const expected = all
      .flatMap(({ variable }) => [...variable.dataSync()])
      .reduce((sum, value) => sum + value ** 2, 0);
    t.ok(expected > 0 && Math.abs(found - expected) < 1e-4 * expected, `${found}, expected ${expected}`);
  });
}

t.test("layers in a frozen model are not trained, its BatchNorm neither", async (t) => {
  const inner = tf.sequential({
    layers: [layers.conv2d({ filters: 2, kernelSize: 3, inputShape: [8, 8, 1] }), layers.batchNormalization()],
  });
  inner.trainable = false;
  const model = build(() => tf.sequential({ layers: [inner, layers.flatten(), layers.dense({ units: 3 })] }));
  t.same(names(model.parameters), ["dense/kernel", "dense/bias"]);
  const images = tf.randomUniform([4, 8, 8, 1], 0, 1, "float32", 5);
  const before = values(model);
  const [training, evaluation] = [true, false].map((mode) => [...model.apply(images, mode).dataSync()]);
  t.same(training, evaluation);
  t.same(values(model), before);
});
