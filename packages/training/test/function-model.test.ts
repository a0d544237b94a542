import { tf } from "@ringmaster/backend";
import { syntheticImages } from "@ringmaster/data";
import t from "tap";
import { adam, buildModel, dropout, functionModel, type ModelInput } from "../src/index.ts";
import { createLocalTrainer } from "./fixtures/local-trainer.ts";

const dataset = await syntheticImages({ imageShape: [6, 6, 1], classes: 3, train: 60, test: 6, seed: 1 }).load();

/** A convolution with dropout and a dense layer, as a function. */
const plain =
  (rate: number) =>
  ({ classes }: ModelInput) =>
    functionModel({
      parameters: {
        "conv/kernel": tf.randomNormal([3, 3, 1, 4], 0, 0.3),
        "conv/bias": tf.zeros([4]),
        "head/kernel": tf.randomNormal([36, classes], 0, 0.3),
        "head/bias": tf.zeros([classes]),
      },
      apply(images, parameters, training) {
        const filters = parameters["conv/kernel"] as unknown as tf.Tensor4D;
        const convolved = tf.relu(
          tf.add(tf.conv2d(images, filters, 1, "same"), parameters["conv/bias"]),
        ) as tf.Tensor4D;
        const pooled = tf.maxPool(convolved, 2, 2, "same");
        const features = dropout(tf.reshape(pooled, [-1, 36]), rate, training);
        return tf.add(tf.matMul(features, parameters["head/kernel"]), parameters["head/bias"]) as tf.Tensor2D;
      },
    });

const trainer = (seats: number, rate: number) =>
  createLocalTrainer({ dataset, model: plain(rate), optimizer: adam({ learningRate: 0.01 }), seats, batchSize: 20 });

t.test("a plain function of tensors trains, under the names that it gives its parameters", async (t) => {
  const local = await trainer(2, 0.25);
  t.same(
    local.layout.parameters.map(({ name, shape }) => [name, shape]),
    [
      ["conv/kernel", [3, 3, 1, 4]],
      ["conv/bias", [4]],
      ["head/kernel", [36, 3]],
      ["head/bias", [3]],
    ],
  );
  const losses = Array.from({ length: 40 }, (_, step) => local.step(step).loss / 20);
  t.ok((losses.at(-1) ?? Number.NaN) < 0.6 * (losses[0] ?? 0), `${losses[0]} to ${losses.at(-1)}`);
});

t.test("its dropout is keyed by the sample's slot: S changes the order of sums alone", async (t) => {
  const tails = await Promise.all([1, 4].map(async (seats) => (await trainer(seats, 0.5)).gradients(3)));
  const [one, four] = tails;
  t.ok(Math.abs((one?.loss ?? 0) - (four?.loss ?? 1)) < 1e-4, `${one?.loss} and ${four?.loss}`);
  const without = (await trainer(1, 0)).gradients(3);
  t.not(one?.loss, without.loss, "dropout does something");
});

t.test("random initial values follow from the seed", async (t) => {
  const kernelOf = (seed: number) => {
    const model = buildModel(plain(0), { imageShape: [6, 6, 1], classes: 3 }, seed);
    return [...(model.parameters[0]?.variable.dataSync() ?? [])];
  };
  t.same(kernelOf(1), kernelOf(1));
  t.strictNotSame(kernelOf(1), kernelOf(2));
});

const unfit = {
  "no parameters": [
    () => functionModel({ parameters: {}, apply: (images) => tf.zeros([images.shape[0], 3]) }),
    /parameters to train, found none/,
  ],
  "an integer parameter": [
    () =>
      functionModel({
        parameters: { a: tf.tensor([1], [1], "int32") },
        apply: (images) => tf.zeros([images.shape[0], 3]),
      }),
    /float32 tensors as parameters, found a/,
  ],
  "logits of another shape": [
    () => functionModel({ parameters: { a: tf.zeros([1]) }, apply: (images) => tf.zeros([images.shape[0], 4]) }),
    /float32 logits of shape \[2, 3\] for 2 images, found a float32 tensor of shape \[2, 4\]/,
  ],
} as const;
for (const [name, [make, message]] of Object.entries(unfit)) {
  t.test(`${name} is refused`, async (t) => {
    t.throws(() => buildModel(make, { imageShape: [6, 6, 1], classes: 3 }, 1), { code: "MODEL_UNSUPPORTED", message });
  });
}
