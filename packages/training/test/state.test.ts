import { tf } from "@ringmaster/backend";
import { syntheticImages } from "@ringmaster/data";
import t from "tap";
import { adam, hashTensors, readTail, type StateTensor, sgd, tailFields, writeInitialState } from "../src/index.ts";
import { writeTail } from "../src/tail.ts";
import { createLocalTrainer } from "./fixtures/local-trainer.ts";

const { layers } = tf;
const dataset = await syntheticImages({ imageShape: [6, 6, 1], classes: 3, train: 40, test: 0, seed: 5 }).load();
const model = () =>
  tf.sequential({
    layers: [
      layers.conv2d({ filters: 2, kernelSize: 3, inputShape: [6, 6, 1] }),
      layers.batchNormalization(),
      layers.flatten(),
      layers.dense({ units: 3 }),
    ],
  });

t.test("the state names parameters, statistics and slots, and lies over the shared memory", async (t) => {
  const { tensors, layout, flat, map } = await createLocalTrainer({
    dataset,
    model,
    optimizer: adam(),
    seats: 1,
    batchSize: 8,
  });
  const names = [
    ...["conv2d/kernel", "conv2d/bias", "batch_normalization/gamma", "batch_normalization/beta"],
    ...["dense/kernel", "dense/bias"],
  ];
  const moving = ["batch_normalization/moving_mean", "batch_normalization/moving_variance"];
  t.same(
    tensors.model.map(({ name }) => name),
    [...names, ...moving],
  );
  t.same(
    tensors.optimizer.map(({ name }) => name),
    ["exp_avg", "exp_avg_sq"].flatMap((slot) => names.map((name) => `${slot}/${name}`)),
  );
  const dense = tensors.model[4];
  const { offset = 0 } = layout.parameters[4] ?? {};
  dense?.data.fill(0.5);
  t.equal(flat(map.parameters)[offset], 0.5);
  t.equal(dense?.data.length, 16 * 2 * 3);
});

t.test("a run starts from the model's weights and slots of zeros", async (t) => {
  const local = await createLocalTrainer({
    dataset,
    model,
    optimizer: sgd({ learningRate: 1, momentum: 0.9 }),
    seats: 1,
    batchSize: 8,
  });
  const first = local.hash();
  local.step(0);
  t.not(local.hash(), first);
  const [slot] = local.tensors.optimizer;
  t.ok(slot?.data.some((value) => value !== 0));
  writeInitialState(local.tensors, local.model);
  for (const { data } of local.tensors.optimizer) t.ok(data.every((value) => value === 0));
  const again = await createLocalTrainer({
    dataset,
    model,
    optimizer: sgd({ learningRate: 1, momentum: 0.9 }),
    seats: 1,
    batchSize: 8,
  });
  t.equal(again.hash(), first, "whatever was captured or trained before");
  t.equal(local.hash(), first, "and however late it is written");
  const other = await createLocalTrainer({
    dataset,
    model,
    optimizer: sgd({ learningRate: 1, momentum: 0.9 }),
    seats: 1,
    batchSize: 8,
    seed: 8,
  });
  t.not(other.hash(), first);
});

t.test("the hash changes with a name, a shape, an order and any bit", async (t) => {
  const tensor = (name: string, shape: number[], ...data: number[]): StateTensor => ({
    name,
    shape,
    data: Float32Array.from(data),
  });
  const states = [
    [tensor("a", [2], 1, 2), tensor("b", [1], 3)],
    [tensor("a", [2], 1, 2), tensor("c", [1], 3)],
    [tensor("a", [2, 1], 1, 2), tensor("b", [1], 3)],
    [tensor("b", [1], 3), tensor("a", [2], 1, 2)],
    [tensor("a", [2], 2, 1), tensor("b", [1], 3)],
    [tensor("a", [2], 1, 2.0000002), tensor("b", [1], 3)],
    [tensor("a", [2], 1, 2), tensor("b", [1], 0)],
    [tensor("a", [2], 1, 2), tensor("b", [1], -0)],
    [tensor("a", [2], 1, 2)],
    [],
  ];
  t.equal(new Set(states.map(hashTensors)).size, states.length);
  t.equal(hashTensors(structuredClone(states[0] ?? [])), hashTensors(states[0] ?? []));
  t.equal(hashTensors([]), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "SHA-256 of nothing");
});

t.test("a tail is read as it was written, and sums field by field", async (t) => {
  const tail = { loss: 1.5, correct: 3, samples: 8, plan: 1, receipt: [1, 20, 255, 0], overflowed: 1 } as const;
  const floats = new Float32Array(tailFields);
  writeTail(floats, tail);
  t.same(readTail(floats), tail);
  const doubled = floats.map((value) => value + value);
  t.same(readTail(doubled), { loss: 3, correct: 6, samples: 16, plan: 2, receipt: [2, 40, 510, 0], overflowed: 2 });
  t.ok(floats.subarray(9).every((value) => value === 0));
});
