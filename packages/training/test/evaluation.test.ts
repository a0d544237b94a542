import { tf } from "@ringmaster/backend";
import { syntheticImages } from "@ringmaster/data";
import t from "tap";
import { adam, type EvaluationSplit } from "../src/index.ts";
import { batchOf, crossEntropySum, furthest } from "./fixtures/eager.ts";
import { createLocalTrainer } from "./fixtures/local-trainer.ts";

const { layers } = tf;
const dataset = await syntheticImages({ imageShape: [8, 8, 1], classes: 5, train: 200, test: 75, seed: 5 }).load();

const cnn = () =>
  tf.sequential({
    layers: [
      layers.conv2d({ filters: 4, kernelSize: 3, inputShape: [8, 8, 1] }),
      layers.batchNormalization(),
      layers.reLU(),
      layers.dropout({ rate: 0.5 }),
      layers.flatten(),
      layers.dense({ units: 5, kernelRegularizer: tf.regularizers.l2({ l2: 0.1 }) }),
    ],
  });
const trainer = (seats: number, validation = 40) =>
  createLocalTrainer({ dataset, model: cnn, optimizer: adam(), seats, batchSize: 32, validation });
type Trainer = Awaited<ReturnType<typeof trainer>>;

/** The sums of all seats, in seat order: [loss, samples, confusion matrix]. */
function evaluate(local: Trainer, split: EvaluationSplit): Float32Array {
  const { start, length } = local.layout.buckets[local.layout.evaluationBucket] ?? { start: 0, length: 0 };
  const total = new Float32Array(length);
  local.map.seats.forEach((buffer, seat) => {
    local.flat(buffer).fill(9, start, start + length);
    local.computer.evaluate(split, seat, buffer);
    local
      .flat(buffer)
      .subarray(start, start + length)
      .forEach((value, i) => {
        total[i] = (total[i] ?? 0) + value;
      });
  });
  return total;
}

/** The same, by tfjs, over the split at once. */
function expected(local: Trainer, split: EvaluationSplit): Float32Array {
  local.model.parameters.concat(local.model.statistics).forEach(({ variable, shape }, index) => {
    variable.assign(tf.tensor(local.tensors.model[index]?.data.slice() ?? [], [...shape]));
  });
  const { examples, ids } = local.data.evaluation[split];
  const { images, labels } = batchOf(local.data, examples, ids);
  const logits = local.model.apply(images, false);
  const confusion = new Float32Array(25);
  const truth = labels.dataSync();
  [...tf.argMax(logits, 1).dataSync()].forEach((predicted, i) => {
    const cell = 5 * (truth[i] ?? 0) + predicted;
    confusion[cell] = (confusion[cell] ?? 0) + 1;
  });
  return Float32Array.of(crossEntropySum(logits, labels).dataSync()[0] ?? 0, ids.length, ...confusion);
}

for (const seats of [1, 3, 4, 8]) {
  t.test(`the sums of ${seats} seats are the model's over the whole split`, async (t) => {
    const local = await trainer(seats);
    for (let step = 0; step < 4; step++) local.step(step);
    // 40 and 75 samples in blocks of 16: 3 and 5 blocks, each with a shorter last one; of 8 seats some have no block.
    for (const split of ["validation", "test"] as const) {
      const [found, wanted] = [evaluate(local, split), expected(local, split)];
      t.ok(furthest(found.subarray(0, 1), wanted.subarray(0, 1)) < 1e-5, `${split}: loss ${found[0]}, ${wanted[0]}`);
      t.equal(found[1], split === "test" ? 75 : 40, `${split}: samples`);
      t.same(found.subarray(1), wanted.subarray(1), `${split}: confusion of label and prediction`);
    }
  });
}

t.test(
  "an evaluation touches neither the step's part of the seat's buffer nor the state, and repeats to the bit",
  async (t) => {
    const local = await trainer(1);
    local.step(0);
    const [buffer = 0] = local.map.seats;
    const { start = 0 } = local.layout.buckets[local.layout.evaluationBucket] ?? {};
    const step = local.flat(buffer).slice(0, start);
    const state = local.hash();
    const first = evaluate(local, "test");
    t.same(evaluate(local, "test"), first);
    t.same(local.flat(buffer).subarray(0, start), step);
    t.equal(local.hash(), state);
    local.step(1);
    t.notSame(evaluate(local, "test"), first, "another state gives other sums");
  },
);

t.test("a split without samples gives zeros", async (t) => {
  const local = await trainer(2, 0);
  t.ok(evaluate(local, "validation").every((value) => value === 0));
});
