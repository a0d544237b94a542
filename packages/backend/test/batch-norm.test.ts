import t from "tap";
import tf from "#tfjs";
import { batchNormInTraining, openBackend } from "../src/index.ts";
import { wave } from "./fixtures/captured-function.ts";

interface Case {
  readonly shape: number[];
  readonly scale: boolean;
  readonly offset: boolean;
  readonly epsilon: number;
}
interface Normalised {
  readonly normalised: tf.Tensor;
  readonly mean: tf.Tensor;
  readonly variance: tf.Tensor;
}
type Normalise = (x: tf.Tensor, scale: tf.Tensor | null, offset: tf.Tensor | null, epsilon: number) => Normalised;

const onAndOff = [true, false];
const cases: Case[] = [
  [7, 3],
  [2, 1],
  [3, 4, 5],
  [4, 3, 2, 6],
  [1, 5, 5, 2],
].flatMap((shape) =>
  onAndOff.flatMap((scale) => onAndOff.map((offset) => ({ shape, scale, offset, epsilon: scale ? 1e-3 : 1e-5 }))),
);

/** As tf.layers composes it. */
const composed: Normalise = (x, scale, offset, epsilon) => {
  const { mean, variance } = tf.moments(x, [...x.shape.keys()].slice(0, -1));
  const inverse = tf.rsqrt(tf.add(variance, epsilon));
  const centred = tf.mul(tf.sub(x, mean), inverse);
  const scaled = scale ? tf.mul(centred, scale) : centred;
  return { normalised: offset ? tf.add(scaled, offset) : scaled, mean, variance };
};

function tensor(shape: number[], phase: number): tf.Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.add(tf.mul(tf.tensor(wave(size, phase), shape), 2), 1);
}

/** What comes out, and the gradients of the normalised values' weighted sum. */
function outcome(normalise: Normalise, { shape, scale, offset, epsilon }: Case): number[][] {
  return tf.tidy(() => {
    const channels = [shape.at(-1) ?? 0];
    const parameters = [...(scale ? [tensor(channels, 1)] : []), ...(offset ? [tensor(channels, 2)] : [])];
    const weights = tensor(shape, 3);
    const of = (x: tf.Tensor, ...given: tf.Tensor[]) =>
      normalise(x, scale ? (given[0] ?? null) : null, offset ? (given.at(-1) ?? null) : null, epsilon);
    const inputs = [tensor(shape, 0), ...parameters] as [tf.Tensor, ...tf.Tensor[]];
    const { normalised, mean, variance } = of(...inputs);
    const gradients = tf.grads((...xs: tf.Tensor[]) =>
      tf.sum(tf.mul(of(...(xs as [tf.Tensor, ...tf.Tensor[]])).normalised, weights)),
    )(inputs);
    return [normalised, mean, variance, ...gradients].map((x) => [...x.dataSync()]);
  });
}

await tf.setBackend("cpu");
const expected = cases.map((each) => outcome(composed, each));
const backend = await openBackend({ backend: "tensorflow", device: "cpu" });

t.test("values, moments and gradients are those of tfjs's composition on its CPU backend", async (t) => {
  cases.forEach((each, index) => {
    const found = outcome(batchNormInTraining, each);
    const wanted = expected[index] ?? [];
    t.same(
      found.map(({ length }) => length),
      wanted.map(({ length }) => length),
    );
    const differences = wanted.map((values, output) => {
      const size = Math.max(1, ...values.map(Math.abs));
      return Math.max(...values.map((value, i) => Math.abs(value - (found[output]?.[i] ?? Number.NaN)) / size));
    });
    t.ok(
      differences.every((difference) => difference < 1e-5),
      `${JSON.stringify(each)}: ${differences}`,
    );
  });
});

t.test("with 65,536 values a channel, value and moments are those of float64 within 1e-4", async (t) => {
  const [count, channels, epsilon] = [65_536, 4, 1e-3];
  const values = wave(count * channels, 0.3).map((value, i) => Math.fround(value + 0.4 * (i % channels)));
  const channel = (c: number) => values.filter((_, i) => i % channels === c);
  const exact = [...Array(channels).keys()].map((c) => {
    const mean = channel(c).reduce((sum, value) => sum + value, 0) / count;
    return { mean, variance: channel(c).reduce((sum, value) => sum + (value - mean) ** 2, 0) / count };
  });
  const found = batchNormInTraining(tf.tensor(values, [64, 32, 32, channels]), null, null, epsilon);
  const [mean, variance, normalised] = await Promise.all([
    found.mean.data(),
    found.variance.data(),
    found.normalised.data(),
  ]);
  exact.forEach((moments, c) => {
    const differences = [
      Math.abs((mean[c] ?? Number.NaN) - moments.mean),
      Math.abs((variance[c] ?? Number.NaN) / moments.variance - 1),
      ...channel(c).map((value, i) => {
        const expected = (value - moments.mean) / Math.sqrt(moments.variance + epsilon);
        return Math.abs((normalised[i * channels + c] ?? Number.NaN) - expected);
      }),
    ];
    const largest = differences.reduce((a, b) => Math.max(a, b), 0);
    t.ok(largest < 1e-4, `channel ${c}: ${largest}`);
  });
});

t.test("a channel of one value is its offset, with variance and gradient 0", async (t) => {
  const [x, scale, offset] = [tf.tensor2d([[3, -4]]), tf.tensor1d([2, 5]), tf.tensor1d([0.25, -1])];
  const { normalised, mean, variance } = batchNormInTraining(x, scale, offset, 1e-3);
  t.same([...normalised.dataSync()], [0.25, -1]);
  t.same([...mean.dataSync()], [3, -4]);
  t.same([...variance.dataSync()], [0, 0]);
  const gradient = tf.grad((y) => tf.sum(batchNormInTraining(y, scale, offset, 1e-3).normalised))(x);
  t.same(
    [...gradient.dataSync()].map((value) => value + 0),
    [0, 0],
  );
});

t.test("it leaves three tensors and nothing else behind, and its gradient one", async (t) => {
  const [x, scale] = [tensor([4, 3, 2, 6], 0), tensor([6], 1)];
  const count = () => [backend.tensorCount(), tf.memory().numTensors, tf.memory().numDataBuffers];
  const once = () => {
    for (const each of Object.values(batchNormInTraining(x, scale, null, 1e-3))) each.dispose();
    tf.grad((y) => tf.sum(batchNormInTraining(y, scale, null, 1e-3).normalised))(x).dispose();
  };
  once();
  const before = count();
  once();
  tf.tidy(once);
  t.same(count(), before);
});
