import { tf } from "@ringmaster/backend";
import { syntheticImages } from "@ringmaster/data";
import t from "tap";
import { buildModel, sgd } from "../src/index.ts";
import { batchOf, furthest } from "./fixtures/eager.ts";
import { createLocalTrainer } from "./fixtures/local-trainer.ts";

const { layers } = tf;
const dataset = await syntheticImages({ imageShape: [6, 6, 1], classes: 3, train: 62, test: 0, seed: 3 }).load();

function cnn({ freeze = [] as string[] } = {}) {
  const model = tf.sequential({
    layers: [
      layers.conv2d({ name: "conv1", filters: 3, kernelSize: 3, inputShape: [6, 6, 1] }),
      layers.batchNormalization({ name: "bn1", momentum: 0.9 }),
      layers.reLU(),
      layers.conv2d({ name: "conv2", filters: 4, kernelSize: 3 }),
      layers.batchNormalization({ name: "bn2" }),
      layers.flatten(),
      layers.dense({ name: "dense", units: 3 }),
    ],
  });
  for (const name of freeze) model.getLayer(name).trainable = false;
  return model;
}
// 62 samples in batches of 30: 30, 30, 2.
const trainer = (seats: number, make = () => cnn()) =>
  createLocalTrainer({ dataset, model: make, optimizer: sgd({ learningRate: 0.1 }), seats, batchSize: 30 });
type Trainer = Awaited<ReturnType<typeof trainer>>;

/** tfjs's own training pass over some slots of a step, from given weights; the moving statistics after it. */
function eagerStatistics(
  local: Trainer,
  weights: ReadonlyMap<string, Float32Array>,
  step: number,
  first: number,
  end: number,
) {
  const { apply, parameters, statistics } = buildModel(() => cnn(), { imageShape: [6, 6, 1], classes: 3 }, 1);
  for (const { name, shape, variable } of [...parameters, ...statistics])
    variable.assign(tf.tensor(weights.get(name) ?? new Float32Array(), [...shape]));
  const ids = local.data.sampler.batch(step).subarray(first, end);
  tf.tidy(() => void apply(batchOf(local.data, dataset.train, ids).images, true));
  return new Map(statistics.map(({ name, variable }) => [name, Float32Array.from(variable.dataSync())]));
}

const bits = (values: Float32Array | undefined) => Buffer.from(Float32Array.from(values ?? []).buffer).toString("hex");
const weightsOf = (local: Trainer) => new Map(local.tensors.model.map(({ name, data }) => [name, data.slice()]));
const movingOf = (local: Trainer) => [...weightsOf(local)].filter(([name]) => name.includes("moving"));

t.test("with one seat, moving statistics are those of tfjs's own training step", async (t) => {
  const local = await trainer(1);
  for (const step of [0, 1, 2, 3]) {
    const weights = weightsOf(local);
    const { samples } = local.step(step);
    const expected = eagerStatistics(local, weights, step, 0, samples);
    t.equal(expected.size, 4);
    for (const [name, found] of movingOf(local)) {
      const difference = furthest(found, expected.get(name) ?? []);
      t.ok(difference < 1e-5, `${name} after step ${step}: ${difference}`);
      t.notSame(found, weights.get(name), `${name} moved`);
    }
  }
});

t.test(
  "with more seats they are the mean over samples of the seats', and a seat without samples has no say",
  async (t) => {
    for (const seats of [4, 7]) {
      const local = await trainer(seats);
      for (const step of [0, 1, 2]) {
        const weights = weightsOf(local);
        const { samples } = local.step(step);
        t.equal(samples, [30, 30, 2][step]);
        const sums = new Map<string, Float64Array>();
        let empty = 0;
        for (let seat = 0; seat < seats; seat++) {
          const { first, end } = local.data.sampler.seatSlots(step, seat);
          if (first === end) empty++;
          else
            for (const [name, values] of eagerStatistics(local, weights, step, first, end)) {
              const sum = sums.get(name) ?? new Float64Array(values.length);
              sums.set(
                name,
                sum.map((value, i) => value + ((end - first) * (values[i] ?? 0)) / samples),
              );
            }
        }
        t.equal(empty, step === 2 ? seats - 2 : 0, "empty seats");
        for (const [name, found] of movingOf(local)) {
          const difference = furthest(found, sums.get(name) ?? []);
          t.ok(difference < 1e-5, `${seats} seats, ${name} after step ${step}: ${difference}`);
        }
      }
    }
  },
);

t.test("a seat without samples leaves exact zeros, whatever lay there, but for the plan word", async (t) => {
  const local = await trainer(4);
  const [buffer = 0] = local.map.seats;
  const flat = local.flat(buffer);
  const { tailStart, statisticFloats } = local.layout;
  const end = tailStart + 16 + statisticFloats;
  flat.fill(7);
  const { first, end: last } = local.data.sampler.seatSlots(2, 0);
  t.equal(first, last);
  local.computer.train(2, 0, buffer, { plan: 1, lossScale: 1 });
  t.same(
    [...flat.subarray(0, end).entries()].filter(([, value]) => value !== 0),
    [[tailStart + 3, 1]],
  );
  local.computer.train(2, 0, buffer, { plan: 0, lossScale: 1 });
  t.ok(flat.subarray(0, end).every((value) => Object.is(value, 0)));
});

t.test("a frozen layer's weights stay as they are to the bit, and the others learn", async (t) => {
  for (const seats of [1, 4]) {
    const local = await trainer(seats, () => cnn({ freeze: ["conv1", "dense"] }));
    const before = weightsOf(local);
    t.same(
      local.layout.statistics.map(({ name }, index) => [name, local.computer.rewrites[index]]),
      [
        ["conv1/kernel", false],
        ["conv1/bias", false],
        ["bn1/moving_mean", true],
        ["bn1/moving_variance", true],
        ["bn2/moving_mean", true],
        ["bn2/moving_variance", true],
        ["dense/kernel", false],
        ["dense/bias", false],
      ],
    );
    for (let step = 0; step < 7; step++) local.step(step);
    for (const [name, after] of weightsOf(local)) {
      const frozen = /^(conv1|dense)\//.test(name);
      // Before BatchNorm a bias has no effect, and may stay where it is.
      if (name !== "conv2/bias") t.equal(bits(after) === bits(before.get(name)), frozen, name);
    }
  }
});

t.test("evaluation uses the moving statistics and changes none", async (t) => {
  const local = await createLocalTrainer({
    dataset,
    model: () => cnn(),
    optimizer: sgd({ learningRate: 0.1 }),
    seats: 1,
    batchSize: 16,
    validation: 20,
  });
  local.step(0);
  const before = local.hash();
  const [buffer = 0] = local.map.seats;
  local.computer.evaluate("validation", 0, buffer);
  t.equal(local.hash(), before);
  const start = local.layout.buckets[local.layout.evaluationBucket]?.start ?? 0;
  const loss = () => local.flat(buffer)[start];
  const first = loss();
  local.computer.evaluate("validation", 0, buffer);
  t.equal(loss(), first);
  const moving = local.tensors.model.find(({ name }) => name === "bn2/moving_mean");
  moving?.data.fill(3);
  local.computer.evaluate("validation", 0, buffer);
  t.not(loss(), first, "another mean gives another loss");
});
