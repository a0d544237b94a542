import { tf } from "@ringmaster/backend";
import { syntheticImages } from "@ringmaster/data";
import t from "tap";
import { sgd } from "../src/index.ts";
import { furthest } from "./fixtures/eager.ts";
import { createLocalTrainer } from "./fixtures/local-trainer.ts";

const { layers } = tf;
const samples = 24;
// The batch is the whole training set: two steps differ in nothing but the order of the samples and what is drawn.
const dataset = await syntheticImages({ imageShape: [3, 3, 1], classes: 3, train: samples, test: 0, seed: 3 }).load();

const trainer = (seats: number, make: () => tf.layers.Layer[], seed = 7) =>
  createLocalTrainer({
    dataset,
    model: () =>
      tf.sequential({
        layers: [
          layers.reshape({ targetShape: [3, 3], inputShape: [3, 3, 1] }),
          ...make(),
          layers.flatten(),
          layers.dense({ units: 3 }),
        ],
      }),
    optimizer: sgd({ learningRate: 0.1 }),
    seats,
    batchSize: samples,
    seed,
  });
async function gradients(seats: number, make: () => tf.layers.Layer[], step = 0, seed = 7): Promise<Float32Array> {
  const local = await trainer(seats, make, seed);
  const { loss } = local.gradients(step);
  return Float32Array.from([loss, ...[...local.gradientsByName().values()].flatMap((values) => [...values])]);
}

const random: Record<string, () => tf.layers.Layer[]> = {
  dropout: () => [layers.dropout({ rate: 0.5 })],
  "two dropouts": () => [layers.dropout({ rate: 0.3 }), layers.dense({ units: 7 }), layers.dropout({ rate: 0.5 })],
  "dropout with a seed of its own": () => [layers.dropout({ rate: 0.5, seed: 3 })],
  "dropout of whole rows": () => [layers.dropout({ rate: 0.5, noiseShape: [null as unknown as number, 3, 1] })],
  spatialDropout1d: () => [layers.spatialDropout1d({ rate: 0.5 })],
  gaussianNoise: () => [layers.gaussianNoise({ stddev: 0.7 })],
  gaussianDropout: () => [layers.gaussianDropout({ rate: 0.4 })],
  alphaDropout: () => [layers.alphaDropout({ rate: 0.4 })],
  "dropout in an lstm": () => [layers.lstm({ units: 4, dropout: 0.4, recurrentDropout: 0.3, returnSequences: true })],
  "dropout in a gru": () => [layers.gru({ units: 4, dropout: 0.4, returnSequences: true })],
  "dropout in a stack of cells": () => [
    layers.rnn({
      cell: [0, 1].map(() => layers.simpleRNNCell({ units: 4, recurrentDropout: 0.4 })),
      returnSequences: true,
    }),
  ],
  "dropout inside of a wrapper": () => [layers.timeDistributed({ layer: layers.dropout({ rate: 0.5 }) })],
};
for (const [name, make] of Object.entries(random)) {
  t.test(`${name}: what a sample sees does not depend on the number of seats`, async (t) => {
    const whole = await gradients(1, make);
    for (const seats of [2, 4, 5, samples]) {
      const difference = furthest(await gradients(seats, make), whole);
      t.ok(difference < 1e-5, `${seats} seats: ${difference}`);
    }
  });

  t.test(`${name}: every step and seed draws anew, and the same one the same bits`, async (t) => {
    const first = await gradients(4, make);
    t.same(await gradients(4, make), first);
    const still = [await gradients(4, () => []), await gradients(4, () => [], 1)] as const;
    const widths = first.length === still[0].length;
    if (widths) t.ok(furthest(still[1], still[0]) < 1e-5, "without the layer, two steps over all samples are alike");
    t.ok(furthest(await gradients(4, make, 1), first) > 0.01, "another step");
    t.ok(furthest(await gradients(4, make, 0, 8), first) > 0.01, "another seed");
    if (widths) t.ok(furthest(first, still[0]) > 0.01, "the layer does something");
  });
}

/**
 * The inputs of the dense layer as every sample saw them. With one sample a seat, the gradient of a kernel's row is its input times the bias's gradient.
 */
async function inputsSeen(make: () => tf.layers.Layer[]): Promise<number[]> {
  const local = await trainer(samples, make);
  const offsetOf = (name: string) => local.layout.parameters.find((each) => each.name === name)?.offset ?? Number.NaN;
  const [kernel, bias] = [offsetOf("dense/kernel"), offsetOf("dense/bias")];
  return local.map.seats.flatMap((buffer, seat) => {
    local.computer.train(0, seat, buffer, { plan: 0, lossScale: 1 });
    const flat = local.flat(buffer);
    return Array.from({ length: 9 }, (_, row) => (flat[kernel + 3 * row] ?? 0) / (flat[bias] ?? 0));
  });
}
function moments(values: readonly number[]): { mean: number; deviation: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return { mean, deviation: Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length) };
}

t.test("dropout drops a rate of a sample's inputs, and scales up the others", async (t) => {
  const rate = 0.25;
  const [all, kept] = [await inputsSeen(() => []), await inputsSeen(() => [layers.dropout({ rate })])];
  const lost = kept.filter((value) => value === 0).length / kept.length;
  t.ok(Math.abs(lost - rate) < 0.1, `${lost} dropped`);
  t.ok(kept.every((value, i) => value === 0 || Math.abs(value / (all[i] ?? 0) - 1 / (1 - rate)) < 1e-3));
});

t.test("Gaussian noise has the deviation that was asked for", async (t) => {
  const all = await inputsSeen(() => []);
  const noised = await inputsSeen(() => [layers.gaussianNoise({ stddev: 0.7 })]);
  const added = moments(noised.map((value, i) => value - (all[i] ?? 0)));
  t.ok(Math.abs(added.mean) < 0.15 && Math.abs(added.deviation - 0.7) < 0.12, JSON.stringify(added));
  const dropped = await inputsSeen(() => [layers.gaussianDropout({ rate: 0.2 })]);
  const factor = moments(dropped.map((value, i) => value / (all[i] ?? 0)));
  t.ok(Math.abs(factor.mean - 1) < 0.1 && Math.abs(factor.deviation - 0.5) < 0.09, JSON.stringify(factor));
});

t.test("a rate of 0 or 1 and no deviation leave the inputs alone, as in tf.layers", async (t) => {
  const plain = await gradients(2, () => []);
  for (const [name, make] of Object.entries({
    "dropout 0": () => [layers.dropout({ rate: 0 })],
    "dropout 1": () => [layers.dropout({ rate: 1 })],
    "gaussianDropout 0": () => [layers.gaussianDropout({ rate: 0 })],
    "gaussianDropout 1": () => [layers.gaussianDropout({ rate: 1 })],
    "spatialDropout1d 1": () => [layers.spatialDropout1d({ rate: 1 })],
    "gaussianNoise 0": () => [layers.gaussianNoise({ stddev: 0 })],
  })) {
    t.same(await gradients(2, make), plain, name);
  }
});

t.test("outside of a captured step the layers are tf.layers' own", async (t) => {
  await trainer(1, () => [layers.dropout({ rate: 0.5 })]);
  const ones = tf.ones([50, 40]);
  const dropped = layers.dropout({ rate: 0.5 }).apply(ones, { training: true }) as tf.Tensor;
  const zeros = [...dropped.dataSync()].filter((value) => value === 0).length;
  t.ok(zeros > 800 && zeros < 1200, `${zeros} of 2000 dropped`);
  t.same((layers.dropout({ rate: 0.5 }).apply(ones) as tf.Tensor).dataSync(), ones.dataSync(), "none in inference");
});

t.test("random numbers that nobody keys are refused when the step is captured", async (t) => {
  await t.rejects(
    trainer(1, () => [layers.dropout({ rate: 0.5, noiseShape: [1, 3, 3] })]),
    { code: "MODEL_UNSUPPORTED", message: /noiseShape shares one mask among samples; leave its first entry null/ },
  );
  class Drawing extends tf.layers.Layer {
    static readonly className = "Drawing";
    override call(inputs: tf.Tensor | tf.Tensor[], { training }: { training?: boolean }): tf.Tensor {
      const [input = tf.scalar(0)] = [inputs].flat();
      return training ? tf.dropout(input, 0.5) : input;
    }
  }
  await t.rejects(
    trainer(1, () => [new Drawing({ name: "mine" })]),
    { code: "RANDOM_IN_STEP", message: /^layer mine \(Drawing\): .*use keyedUniform or keyedNormal/ },
  );
});
