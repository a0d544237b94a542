import { tf } from "@ringmaster/backend";
import { expectedReceipt, syntheticImages } from "@ringmaster/data";
import t from "tap";
import { adam, type OptimizerSpec, readTail, sgd, tailFields, writePlan } from "../src/index.ts";
import { batchOf, crossEntropySum, furthest } from "./fixtures/eager.ts";
import { createLocalTrainer } from "./fixtures/local-trainer.ts";

const { layers } = tf;
const dataset = await syntheticImages({ imageShape: [8, 8, 1], classes: 4, train: 330, test: 0, seed: 5 }).load();
const batchSize = 32;

const cnn = () =>
  tf.sequential({
    layers: [
      layers.conv2d({ filters: 6, kernelSize: 3, activation: "relu", inputShape: [8, 8, 1] }),
      layers.maxPooling2d({ poolSize: 2 }),
      layers.dropout({ rate: 0.2 }),
      layers.flatten(),
      layers.dense({ units: 24, activation: "relu" }),
      layers.dropout({ rate: 0.3 }),
      layers.dense({ units: 4 }),
    ],
  });
const trainer = (seats: number, optimizer: OptimizerSpec, model: () => tf.LayersModel = cnn) =>
  createLocalTrainer({ dataset, model, optimizer, seats, batchSize });

/** The mean losses of some steps; the parameters' hash after them. */
async function train(seats: number, optimizer: OptimizerSpec, steps = 30) {
  const local = await trainer(seats, optimizer);
  const losses = Array.from({ length: steps }, (_, step) => {
    const { loss, samples } = local.step(step);
    return loss / samples;
  });
  return { losses, hash: local.hash(), parameters: local.tensors.model.flatMap(({ data }) => [...data]) };
}
const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

for (const optimizer of [sgd({ learningRate: 0.05, momentum: 0.9 }), adam({ learningRate: 0.01 })]) {
  t.test(`one seat and more follow the same loss curve, dropout included (${optimizer.kind})`, async (t) => {
    const one = await train(1, optimizer);
    t.ok(mean(one.losses.slice(-5)) < 0.8 * mean(one.losses.slice(0, 5)), `learns: ${one.losses}`);
    for (const seats of [3, 4]) {
      const more = await train(seats, optimizer);
      t.ok(furthest(more.losses, one.losses) < 2e-4, `${seats} seats, losses: ${furthest(more.losses, one.losses)}`);
      t.ok(
        furthest(more.parameters, one.parameters) < 1e-3,
        `${seats} seats, parameters: ${furthest(more.parameters, one.parameters)}`,
      );
      t.equal((await train(seats, optimizer)).hash, more.hash, `${seats} seats again: the same bits`);
    }
  });
}

t.test("a seat's bits do not depend on when and after what it is computed", async (t) => {
  const local = await trainer(4, adam());
  const compute = (step: number, seat: number) => {
    const buffer = local.map.seats[seat] ?? 0;
    local.computer.train(step, seat, buffer, { plan: 0, lossScale: 1 });
    return Buffer.from(local.flat(buffer).slice().buffer).toString("hex");
  };
  const first = [0, 1, 2, 3].map((seat) => compute(5, seat));
  compute(10, 0);
  t.same(
    [3, 1, 0, 2].map((seat) => compute(5, seat)),
    [3, 1, 0, 2].map((seat) => first[seat]),
  );
  t.equal(new Set(first).size, 4);
});

t.test("the tail of a step proves which samples were worked, and counts them", async (t) => {
  for (const seats of [1, 4]) {
    const local = await trainer(seats, adam());
    // 330 samples: the last batch of an epoch has 10.
    for (const step of [0, 9, 10, 11]) {
      const tail = local.gradients(step);
      const ids = local.data.sampler.batch(step);
      t.equal(tail.samples, step === 10 ? 10 : 32);
      t.equal(tail.samples, ids.length);
      t.same(tail.receipt, expectedReceipt(step, ids), `${seats} seats, step ${step}`);
      t.ok(Number.isInteger(tail.correct) && tail.correct >= 0 && tail.correct <= tail.samples);
      t.equal(tail.plan, 0);
    }
  }
});

t.test("loss, hits and gradients are those of the model run by tfjs", async (t) => {
  const plain = () =>
    tf.sequential({
      layers: [
        layers.conv2d({ filters: 4, kernelSize: 3, activation: "relu", inputShape: [8, 8, 1] }),
        layers.flatten(),
        layers.dense({ units: 4 }),
      ],
    });
  for (const seats of [1, 4]) {
    const local = await trainer(seats, sgd({ learningRate: 0.1 }), plain);
    const tail = local.gradients(0);
    const { images, labels } = batchOf(local.data, dataset.train, local.data.sampler.batch(0));
    const variables = local.model.parameters.map(({ variable }) => variable);
    const logits = () => local.model.apply(images, false);
    const { value, grads } = tf.variableGrads(() => crossEntropySum(logits(), labels), variables);
    t.ok(furthest([tail.loss], value.dataSync()) < 1e-5, "loss");
    t.equal(tail.correct, tf.sum(tf.cast(tf.equal(tf.argMax(logits(), 1), labels), "int32")).dataSync()[0], "hits");
    for (const { name, variable } of local.model.parameters) {
      const difference = furthest(local.gradientsByName().get(name) ?? [], grads[variable.name]?.dataSync() ?? []);
      t.ok(difference < 1e-5, `${seats} seats, ${name}: ${difference}`);
    }
  }
});

const l2 = 0.03;
const regularised: Record<string, () => tf.LayersModel> = {
  "a layer": () =>
    tf.sequential({
      layers: [
        layers.flatten({ inputShape: [8, 8, 1] }),
        layers.dense({ units: 4, kernelRegularizer: tf.regularizers.l2({ l2 }) }),
      ],
    }),
  "a layer of a model inside the model": () =>
    tf.sequential({
      layers: [
        layers.flatten({ inputShape: [8, 8, 1] }),
        tf.sequential({
          layers: [layers.dense({ units: 4, inputShape: [64], kernelRegularizer: tf.regularizers.l2({ l2 }) })],
        }),
      ],
    }),
};
for (const [name, model] of Object.entries(regularised)) {
  t.test(`a regulariser counts once, whatever the batch and the seats: ${name}`, async (t) => {
    for (const seats of [1, 4, 16]) {
      const local = await trainer(seats, sgd({ learningRate: 0.1 }), model);
      const bare = await trainer(seats, sgd({ learningRate: 0.1 }), () =>
        tf.sequential({ layers: [layers.flatten({ inputShape: [8, 8, 1] }), layers.dense({ units: 4 })] }),
      );
      const [kernel, bareKernel] = [local, bare].map(({ tensors }) => tensors.model[0]?.data);
      if (!kernel || !bareKernel) throw new Error("a model without a kernel");
      t.same(kernel, bareKernel, "both start alike");
      // Step 10 is an epoch's short last batch, in which some of 16 seats have no samples.
      for (const step of [0, 10]) {
        const [tail, bareTail] = [local.gradients(step), bare.gradients(step)];
        const { samples } = tail;
        const penalty = l2 * kernel.reduce((sum, value) => sum + value * value, 0);
        const added = (tail.loss - bareTail.loss) / samples;
        t.ok(
          Math.abs(added - penalty) < 1e-4 * penalty + 1e-6 * bareTail.loss,
          `${seats} seats, loss: ${added}, ${penalty}`,
        );
        const [gradient, bareGradient] = [local, bare].map((each) => [...each.gradientsByName().values()][0]);
        const expected = (bareGradient ?? []).map((sum, i) => sum / samples + 2 * l2 * (kernel[i] ?? 0));
        const found = (gradient ?? []).map((sum) => sum / samples);
        t.ok(furthest(found, expected) < 1e-5, `${seats} seats, gradient: ${furthest(found, expected)}`);
      }
    }
  });
}

t.test("the tail counts the seats whose gradients are not all finite, in float32 too", async (t) => {
  const local = await trainer(4, adam());
  t.equal(local.gradients(0).overflowed, 0);
  const bias = local.tensors.model.at(-1);
  if (!bias) throw new Error("a model without parameters");
  const [first = 0] = bias.data;
  bias.data[0] = Number.NaN;
  t.equal(local.gradients(0).overflowed, 4);
  bias.data[0] = first;
  t.equal(local.gradients(0).overflowed, 0);
});

t.test("a seat's plan word is written anew without touching the rest of its tail", async (t) => {
  const floats = Float32Array.from({ length: tailFields }, (_, index) => index + 10);
  const before = readTail(floats);
  for (const plan of [4093, 0]) {
    writePlan(floats, plan);
    t.same(readTail(floats), { ...before, plan });
  }
  t.same([...floats.subarray(8)], [18, 19, 20, 21, 22, 23, 24, 25]);
});
