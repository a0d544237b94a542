import { type ComputeBackend, openBackend, tf } from "@ringmaster/backend";
import t from "tap";
import { buildModel, createLayout, createMemory, createMemoryMap, loadOptimizerKernels } from "../src/index.ts";
import { prepareTrainStep } from "../src/train-step.ts";

const opened = await openBackend({ backend: "tensorflow", device: "cpu" });
/** What float16 asks for, computed in float32: then a power of two scales gradients to the last bit. */
const inFloat32: ComputeBackend = {
  ...opened,
  prepare: (program) => opened.prepare({ ...program, precision: "float32" }),
};
const samples = 6;
const model = buildModel(
  () =>
    tf.sequential({
      layers: [
        tf.layers.conv2d({ inputShape: [8, 8, 1], filters: 4, kernelSize: 3 }),
        tf.layers.batchNormalization(),
        tf.layers.reLU(),
        tf.layers.flatten(),
        tf.layers.dense({ units: 3, kernelRegularizer: tf.regularizers.l2({ l2: 0.01 }) }),
      ],
    }),
  { imageShape: [8, 8, 1], classes: 3 },
  1,
);
const layout = createLayout({ ...model, seats: 1, bucketBytes: 4096 });
const map = createMemoryMap({ layout, slots: 0, threads: 1, batch: samples, imageFloats: 64 });
const memory = createMemory(map);
const [thread] = map.threads;
const [seat = 0] = map.seats;
if (!thread) throw new Error("a map without a thread");
for (const { offset, size } of layout.parameters)
  new Float32Array(memory.buffer, map.parameters + 4 * offset, size).forEach((_, i, all) => {
    all[i] = Math.sin(i + size);
  });
new Float32Array(memory.buffer, map.statistics, layout.statisticFloats).fill(1);
new Float32Array(memory.buffer, thread.images, samples * 64).forEach((_, i, all) => {
  all[i] = Math.cos(i);
});
const gradients = new Float32Array(memory.buffer, seat, layout.parameterFloats);
const scale = new Float32Array(memory.buffer, thread.lossScale, 1);
const surroundings = { backend: inFloat32, model, layout, memory, map, thread };
const step = prepareTrainStep({ ...surroundings, precision: "float16" }, samples);
const run = (by: number) => {
  scale[0] = by;
  return step.run(seat, { seed: 1, step: 0, firstSlot: 0 });
};

t.test("the loss scale multiplies every gradient, and nothing else", async (t) => {
  const plain = run(1);
  const unscaled = gradients.slice();
  const scaled = run(1024);
  t.same(scaled, plain, "loss and correct");
  t.ok(
    gradients.every((value, i) => value === 1024 * (unscaled[i] ?? Number.NaN)),
    "gradients, the regulariser's too",
  );
  const { loss } = prepareTrainStep(surroundings, samples).run(seat, { seed: 1, step: 0, firstSlot: 0 });
  t.ok(Math.abs(loss - plain.loss) < 1e-5 * loss, "as without a scale");
  t.ok(
    unscaled.every((value, i) => Math.abs(value - (gradients[i] ?? Number.NaN)) <= 1e-4),
    "a scale of 1 is none",
  );
});

t.test("an overflow is seen wherever it is", async (t) => {
  const { allFinite } = loadOptimizerKernels(memory);
  run(1);
  t.equal(allFinite(seat, layout.parameterFloats), true);
  run(3e38);
  t.equal(allFinite(seat, layout.parameterFloats), false);
  for (const length of [1, 3, 4, 5, 17])
    for (const at of [0, length - 1])
      for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const floats = new Float32Array(memory.buffer, seat, length).fill(3e38);
        t.equal(allFinite(seat, length), true);
        floats[at] = value;
        t.equal(allFinite(seat, length), false, `${value} at ${at} of ${length}`);
        t.equal(allFinite(seat, 0), true);
      }
});
