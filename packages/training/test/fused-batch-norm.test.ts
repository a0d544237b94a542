import { openBackend, tf } from "@ringmaster/backend";
import t, { type Test } from "tap";
import { buildModel } from "../src/index.ts";
import { furthest } from "./fixtures/eager.ts";

type Config = NonNullable<Parameters<typeof tf.layers.batchNormalization>[0]>;
interface Case {
  readonly shape: readonly number[];
  readonly config?: Config;
  readonly training?: boolean;
  /** Scale 1 and offset 0 instead of what the tests give them. */
  readonly neutral?: boolean;
}
/** The layer's value, its new moving statistics, and the gradients of the value's weighted sum, by name. */
type Outcome = ReadonlyMap<string, Float32Array>;

const backend = await openBackend({ backend: "tensorflow", device: "cpu" });
const dense = () => tf.layers.dense({ units: 2 });
const anyModel = () => tf.sequential({ layers: [tf.layers.flatten({ inputShape: [2, 2, 1] }), dense()] });
// Building a model, whichever, is what puts the fused layer in its place.
buildModel(anyModel, { imageShape: [2, 2, 1], classes: 2 }, 1);

const wave = (size: number, phase: number) =>
  Float32Array.from({ length: size }, (_, i) => 1.5 * Math.sin(1.7 * i + phase) + Math.cos(0.3 * i * phase));

/** The variables that a layer reads, and what a training step does with it. */
function prepare({ shape, config = {}, training = true, neutral = false }: Case) {
  const layer = tf.layers.batchNormalization({ momentum: 0.8, ...config });
  tf.tidy(() => layer.build([null, ...shape.slice(1)]));
  const size = shape.reduce((a, b) => a * b, 1);
  const x = tf.tidy(() => tf.variable(tf.tensor(wave(size, 0.5), [...shape])));
  const weights = tf.tensor(wave(size, 9), [...shape]);
  const named = layer.weights.map((weight): [string, tf.Variable] => {
    const variable = weight.read() as tf.Variable;
    const name = weight.originalName.replace(/^.*\//, "");
    // Positive: one of them is a variance. Left alone, a scale is 1 and an offset 0.
    const values = wave(variable.size, name.length).map((value) => Math.abs(value) + 0.5);
    if (!neutral || name.startsWith("moving")) tf.tidy(() => variable.assign(tf.tensor(values)));
    return [name, variable];
  });
  const moving = named.filter(([name]) => name.startsWith("moving"));
  const differentiated: [string, tf.Variable][] = [["x", x], ...named.filter(([name]) => !name.startsWith("moving"))];

  const pass = () => {
    // As in a training step, clones keep what the layer is about to replace.
    const before = moving.map(([, variable]) => variable.clone());
    let value = tf.scalar(0) as tf.Tensor;
    const { grads } = tf.variableGrads(
      () => {
        value = tf.keep(layer.apply(x, { training }) as tf.Tensor);
        return tf.sum(tf.mul(value, weights));
      },
      differentiated.map(([, variable]) => variable),
    );
    const after = moving.map(([name, variable]): [string, tf.Tensor] => [`new ${name}`, variable.clone()]);
    moving.forEach(([, variable], index) => {
      variable.assign(before[index] ?? variable);
    });
    const gradients = differentiated.map(([name, variable]): [string, tf.Tensor] => [
      `gradient of ${name}`,
      grads[variable.name] ?? tf.zeros([0]),
    ]);
    return { value, outputs: [["value", value] as [string, tf.Tensor], ...after, ...gradients] };
  };
  const variables = [...differentiated, ...moving].map(([, variable]) => variable);
  const dispose = () => {
    for (const each of [weights, ...variables]) each.dispose();
  };
  return { differentiated: differentiated.map(([, variable]) => variable), variables, pass, dispose };
}

/** Outside of a capture: tf.layers' own code, op by op. */
function eager(each: Case): Outcome {
  const { pass, dispose } = prepare(each);
  const outcome = new Map<string, Float32Array>();
  tf.tidy(() => {
    const { value, outputs } = pass();
    for (const [name, output] of outputs) outcome.set(name, output.dataSync() as Float32Array);
    value.dispose();
  });
  dispose();
  return outcome;
}

function captured(each: Case): { readonly outcome: Outcome; readonly ops: number } {
  const { variables, pass, dispose } = prepare(each);
  const memory = new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true });
  let end = 64;
  const take = (floats: number): number => {
    const start = end;
    end += 64 * Math.ceil(floats / 16);
    return start;
  };
  const feeds = variables.map((variable) => {
    const byteOffset = take(variable.size);
    new Float32Array(memory.buffer, byteOffset, variable.size).set(variable.dataSync());
    return { byteOffset, shape: variable.shape, dtype: "float32" as const, variable };
  });
  let named: [string, number][] = [];
  const program = backend.prepare({
    memory,
    feeds,
    body() {
      const { outputs, value } = pass();
      named = outputs.map(([name, { size }]) => [name, size]);
      const copies = outputs.map(([, output]) => tf.clone(output));
      value.dispose();
      return copies;
    },
  });
  const outputs = named.map(([, size]) => take(size));
  program.run({ outputs, random: { seed: 0, step: 0, firstSlot: 0 } });
  program.dispose();
  dispose();
  const read = (byteOffset: number, size: number) => new Float32Array(memory.buffer, byteOffset, size).slice();
  const outcome = new Map(named.map(([name, size], index) => [name, read(outputs[index] ?? 0, size)]));
  return { outcome, ops: program.ops };
}

function check(t: Test, found: Outcome, expected: Outcome, name: string): void {
  for (const [output, values] of expected) {
    const difference = furthest(found.get(output) ?? [], values);
    t.ok(difference < 1e-5, `${name}, ${output}: ${difference}`);
  }
}

const trained: Case[] = [
  [7, 3],
  [5, 1],
  [4, 3, 5],
  [4, 3, 2, 6],
].flatMap((shape) => [
  { shape },
  { shape, config: { momentum: 0.99, epsilon: 1e-5 } },
  { shape, config: { axis: shape.length - 1, epsilon: 0.1 } },
]);

t.test("in a captured training step it gives what tf.layers gives: value, statistics, gradients", async (t) => {
  for (const each of trained) {
    const expected = eager(each);
    t.equal(expected.size, 6);
    const { outcome, ops } = captured(each);
    check(t, outcome, expected, JSON.stringify(each));
    t.ok(ops < 30, `${ops} ops`);
  }
});

// Told to have no scale or no centre, tf.layers' own throws in training: the reference is a layer that has them and does nothing with them.
t.test("without scale or centre it is the layer whose scale is 1 or whose offset is 0", async (t) => {
  for (const { shape } of trained) {
    const expected = eager({ shape, neutral: true });
    for (const [scale, center] of [
      [false, true],
      [true, false],
      [false, false],
    ] as const) {
      const { outcome } = captured({ shape, config: { scale, center }, neutral: true });
      t.equal(outcome.has("gradient of gamma"), scale);
      t.equal(outcome.has("gradient of beta"), center);
      const common = new Map([...expected].filter(([name]) => outcome.has(name)));
      t.equal(common.size, 4 + Number(scale) + Number(center));
      check(t, outcome, common, `${JSON.stringify(shape)}, scale ${scale}, centre ${center}`);
    }
  }
});

t.test("in evaluation, tf.layers' own code runs", async (t) => {
  for (const shape of [
    [7, 3],
    [4, 3, 2, 6],
  ]) {
    const expected = eager({ shape, training: false });
    check(t, captured({ shape, training: false }).outcome, expected, JSON.stringify(shape));
  }
});

t.test("it leaves no tensor behind", async (t) => {
  const count = () => [backend.tensorCount(), tf.memory().numTensors, tf.memory().numDataBuffers];
  captured({ shape: [4, 3, 2, 6] });
  const before = count();
  captured({ shape: [4, 3, 2, 6] });
  captured({ shape: [7, 3], config: { scale: false } });
  t.same(count(), before);
});

t.test("channels that are not last are normalised as the last ones are", async (t) => {
  const shape = [4, 6, 2, 3];
  const turn = (x: tf.Tensor) => tf.transpose(x, [0, 3, 2, 1]);
  const weights = [1, 2, 3, 4].map((phase) => tf.abs(tf.tensor(wave(6, phase))));
  const outcomeOf = (axis: number, training: boolean, through: (x: tf.Tensor) => tf.Tensor) => {
    const layer = tf.layers.batchNormalization({ axis });
    layer.build([null, ...through(tf.zeros(shape)).shape.slice(1)]);
    layer.setWeights(weights);
    const apply = (x: tf.Tensor) => through(layer.apply(through(x), { training }) as tf.Tensor);
    const { value, grad } = tf.valueAndGrad(apply)(tf.tensor(wave(144, 0.5), shape), tf.tensor(wave(144, 9), shape));
    return [value, grad, ...layer.getWeights()].map((each) => each.dataSync());
  };
  for (const training of [true, false]) {
    const expected = outcomeOf(-1, training, turn);
    outcomeOf(1, training, (x) => x).forEach((found, index) => {
      t.ok(furthest(found, expected[index] ?? []) < 1e-5, `training ${training}, output ${index}`);
    });
    const each = { shape, config: { axis: 1 }, training };
    check(t, captured(each).outcome, eager(each), JSON.stringify(each));
    t.ok(captured(each).outcome.size === 6);
  }
});

t.test("a layer that is not trained normalises with its moving statistics and leaves them alone", async (t) => {
  const shape = [4, 3, 2, 6];
  const expected = eager({ shape, training: false });
  check(t, captured({ shape, config: { trainable: false } }).outcome, expected, "told itself");
});
