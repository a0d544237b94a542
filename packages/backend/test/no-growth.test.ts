/** A run has millions of steps: nothing may be left behind by one. */
import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import t from "tap";
import tf from "#tfjs";
import { keyedUniform, openBackend, type PreparedProgram, type Program } from "../src/index.ts";

const backend = await openBackend({ backend: "tensorflow", device: "cpu" });
const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });
const [samples, size] = [16, 1024];
const [input, weights, gradient, loss] = [64, 69_632, 73_728, 77_824];

/** A step in small: a product of matrices, keyed random numbers, a gradient, two stages. */
const program: Program = {
  memory,
  feeds: [
    { byteOffset: input, shape: [samples, size], dtype: "float32" },
    { byteOffset: weights, shape: [size, 1], dtype: "float32" },
  ],
  body([x, w]) {
    const noisy = tf.add(x as tf.Tensor, keyedUniform([samples, size]));
    const lossOf = (kernel: tf.Tensor) => tf.sum(tf.square(tf.matMul(noisy as tf.Tensor2D, kernel as tf.Tensor2D)));
    const { value, grad } = tf.valueAndGrad(lossOf)(w as tf.Tensor);
    return [value, grad];
  },
  stages: [[0], [1]],
};

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** Resident memory without what JavaScript could free, and without pages of files, which come as code is first run. */
function residentBytes(): number {
  collectGarbage();
  const kibibytes = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  if (kibibytes === undefined) throw new Error("expected RssAnon in /proc/self/status (Linux 4.5 or later)");
  return Number(kibibytes) * 1024;
}

/** Of 8,000 steps: 1 KiB a step, a quarter of one gradient left behind. */
const mostGrowth = 8 * 2 ** 20;

function step(prepared: PreparedProgram, number: number): void {
  let stages = 0;
  prepared.run({
    outputs: [loss, gradient],
    random: { seed: 1, step: number, firstSlot: 0 },
    onStage: () => stages++,
  });
  if (stages !== 2) throw new Error(`expected 2 stages, found ${stages}`);
}

t.test("10,000 steps leave no tensor behind and no memory", async (t) => {
  new Float32Array(memory.buffer, weights, size).fill(0.5);
  const prepared = backend.prepare(program);
  const tensors = backend.tensorCount();
  const engineTensors = tf.memory().numTensors;
  // Read after every thousand: collected as often, V8's young generation keeps its size.
  const readings: number[] = [];
  for (let number = 1; number <= 10_000; number++) {
    step(prepared, number);
    if (number % 1000 > 0) continue;
    readings.push(residentBytes());
    t.equal(backend.tensorCount(), tensors, `tensors after step ${number}`);
  }
  t.ok((new Float32Array(memory.buffer, loss, 1)[0] ?? 0) > 0, "the steps compute");
  // From step 2,000: by then V8 has compiled what a step runs and its heap has settled.
  const grown = (readings.at(-1) ?? Number.NaN) - (readings[1] ?? Number.NaN);
  t.ok(grown < mostGrowth, `grew by ${grown} bytes`);
  t.equal(tf.memory().numTensors, engineTensors);
  prepared.dispose();
});
