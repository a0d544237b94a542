import t from "tap";
import tf from "#tfjs";
import { type ComputeBackend, openBackend, sparseSoftmaxCrossEntropy } from "../src/index.ts";
import { crossEntropyKernel } from "../src/ops/cross-entropy.ts";
import { composedCrossEntropy } from "../src/tensorflow/kernels/cross-entropy.ts";
import { wave } from "./fixtures/captured-function.ts";

type Make = () => readonly tf.Tensor[];
interface Case {
  readonly name: string;
  /** What tfjs's CPU backend is asked. */
  readonly reference: Make;
  /** What the tensorflow backend is asked; the same unless said otherwise. */
  readonly found: Make;
}

const tensor = (shape: number[], phase = 0) =>
  tf.tensor(
    wave(
      shape.reduce((a, b) => a * b, 1),
      phase,
    ),
    shape,
  );
const same = (name: string, make: Make): Case => ({ name, reference: make, found: make });

/** The value, and the gradient of its weighted sum with respect to every input. */
const withGradients =
  (f: (...inputs: tf.Tensor[]) => tf.Tensor, ...shapes: number[][]): Make =>
  () => {
    const inputs = shapes.map((shape, index) => tensor(shape, index));
    const value = f(...inputs);
    const weights = tensor(value.shape, 9);
    return [value, ...tf.grads((...xs: tf.Tensor[]) => tf.sum(tf.mul(f(...xs), weights)))(inputs)];
  };

const relu: Case[] = [
  same(
    "relu and its gradient",
    withGradients((x) => tf.relu(x as tf.Tensor), [4, 5, 3]),
  ),
  same("relu's gradient at 0, -0 and infinities", () => {
    const x = tf.tensor1d([0, -0, 2e-38, -2e-38, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3, -3]);
    return [tf.relu(x), tf.grad((y) => tf.sum(tf.mul(tf.relu(y), 2)))(x)];
  }),
];

const matMul: Case[] = [false, true].flatMap((transposeA) =>
  [false, true].flatMap((transposeB) =>
    [[], [1], [3], [1, 1]].map((batch) => {
      const a = [...batch, ...(transposeA ? [7, 4] : [4, 7])];
      const b = [...batch, ...(transposeB ? [5, 7] : [7, 5])];
      return same(
        `matMul ${a.join("x")}${transposeA ? "^T" : ""} by ${b.join("x")}${transposeB ? "^T" : ""}`,
        withGradients((x, y) => tf.matMul(x as tf.Tensor, y as tf.Tensor, transposeA, transposeB), a, b),
      );
    }),
  ),
);
const oddMatMul: Case[] = [
  same("matMul of a batch of one by a plain matrix", () => [tf.matMul(tensor([1, 4, 1]), tensor([1, 6], 1))]),
  same("matMul of a plain matrix by a batch of one", () => [tf.matMul(tensor([4, 3]), tensor([1, 3, 6], 1))]),
  same("matMul of a batch of one by a batch of two", () => [tf.matMul(tensor([1, 4, 3]), tensor([2, 3, 6], 1))]),
  same("matMul of int32", () => [
    tf.matMul(tf.tensor2d([[1, 2]], [1, 2], "int32"), tf.tensor2d([[3], [4]], [2, 1], "int32")),
  ]),
];

const shapePairs: [number[], number[]][] = [
  [[4, 3], [3]],
  [[2, 4, 3], [3]],
  [[2, 3, 4, 5], [5]],
  [[2, 3, 2, 2, 4], [4]],
  [[2, 1, 3, 2, 2, 4], [4]],
  [[3], [3]],
  [[3], [4, 3]],
  [[4, 3], [1]],
  [[4, 1], [1]],
  [[4, 1], [3]],
  [
    [4, 3],
    [4, 3],
  ],
  [
    [4, 3],
    [4, 1],
  ],
  [[4, 3], []],
  [[0, 3], [3]],
];
const add: Case[] = [
  ...shapePairs.map(([a, b]) =>
    same(
      `add [${a}] + [${b}]`,
      a.includes(0)
        ? () => [tf.add(tensor(a), tensor(b, 1))]
        : withGradients((x, y) => tf.add(x as tf.Tensor, y as tf.Tensor), a, b),
    ),
  ),
  same("add of int32 with a bias's shape", () => [tf.add(tf.ones([2, 3], "int32"), tf.tensor1d([1, 2, 3], "int32"))]),
];

const sums: [number[], number | number[] | undefined][] = [
  [[4, 3], 0],
  [[4, 3], 1],
  [[4, 3], -1],
  [[4, 3], undefined],
  [
    [2, 4, 3],
    [0, 1],
  ],
  [
    [2, 4, 3],
    [1, 0],
  ],
  [
    [2, 4, 3],
    [-3, -2],
  ],
  [
    [2, 4, 3],
    [0, 2],
  ],
  [[2, 4, 3], 0],
  [
    [2, 3, 4, 5],
    [0, 1, 2],
  ],
  [
    [2, 1, 3, 2, 2, 4],
    [0, 1, 2, 3, 4],
  ],
  [[5], 0],
  [[0, 3], 0],
];
const sum: Case[] = [
  ...sums.flatMap(([shape, axis]) =>
    [false, true].map((keepDims) =>
      same(`sum of [${shape}] over ${axis ?? "all"}${keepDims ? ", dimensions kept" : ""}`, () => [
        tf.sum(tensor(shape), axis, keepDims),
      ]),
    ),
  ),
  same("sum of int32 over the samples", () => [tf.sum(tf.ones([4, 3], "int32"), 0)]),
];

const crossEntropy: Case[] = [1, 30, 1e4].map((size) => {
  const logits = () => tf.mul(tensor([6, 5]), size) as tf.Tensor2D;
  const extreme = () =>
    tf.tensor2d([
      [size, -size, 0],
      [-size, size, size],
      [-size, -size, -size],
    ]);
  const labels = () => tf.tensor1d([4, 0, 1, 2, 3, 0], "int32");
  const few = () => tf.tensor1d([1, 1, 2], "int32");
  const composed = (x: tf.Tensor, y: tf.Tensor1D) =>
    tf.neg(tf.sum(tf.mul(tf.oneHot(y, x.shape.at(-1) ?? 0), tf.logSoftmax(x as tf.Tensor2D)), 1));
  const both = (loss: (x: tf.Tensor2D, y: tf.Tensor1D) => tf.Tensor) => () =>
    (
      [
        [logits(), labels()],
        [extreme(), few()],
      ] as const
    ).flatMap(([x, y]) => {
      const weights = tensor([x.shape[0]], 5);
      return [loss(x, y), tf.grad((z) => tf.sum(tf.mul(loss(z as tf.Tensor2D, y), weights)))(x)];
    });
  return {
    name: `softmax cross-entropy of logits up to ${size}`,
    reference: both(composed),
    found: both(sparseSoftmaxCrossEntropy),
  };
});

const cases = [...relu, ...matMul, ...oddMatMul, ...add, ...sum, ...crossEntropy];

interface Plain {
  readonly shape: number[];
  readonly dtype: string;
  readonly values: number[];
}
const plain = (make: Make): Plain[] =>
  tf.tidy(() => make().map((x) => ({ shape: x.shape, dtype: x.dtype, values: [...x.dataSync()] })));

/** Largest difference, relative above 1; infinite where one is finite and the other is not the same. */
function distance(found: readonly number[], expected: readonly number[]): number {
  if (found.length !== expected.length) return Number.POSITIVE_INFINITY;
  return expected.reduce((most, value, i) => {
    const other = found[i] ?? Number.NaN;
    if (Object.is(value, other)) return most;
    const difference = Math.abs(value - other) / Math.max(1, Math.abs(value));
    return Number.isNaN(difference) ? Number.POSITIVE_INFINITY : Math.max(most, difference);
  }, 0);
}

await tf.setBackend("cpu");
const expected = cases.map(({ reference }) => plain(reference));
const backend: ComputeBackend = await openBackend({ backend: "tensorflow", device: "cpu" });

t.test("kernels and gradients give what tfjs's CPU backend gives", async (t) => {
  t.equal(tf.getBackend(), "tensorflow");
  cases.forEach(({ name, found }, index) => {
    const values = plain(found);
    const wanted = expected[index] ?? [];
    t.same(
      values.map(({ shape, dtype }) => [shape, dtype]),
      wanted.map(({ shape, dtype }) => [shape, dtype]),
      `${name}: shapes`,
    );
    const distances = values.map((value, output) => distance(value.values, wanted[output]?.values ?? []));
    t.ok(
      distances.every((difference) => difference < 2e-6),
      `${name}: ${distances}`,
    );
  });
});

t.test("cross-entropy of logits of +-1e4 is finite and right", async (t) => {
  const logits = tf.tensor2d([
    [1e4, -1e4, 0],
    [-1e4, 1e4, 1e4],
  ]);
  const labels = tf.tensor1d([1, 2], "int32");
  const { value, grads } = tf.valueAndGrads((x: tf.Tensor) =>
    tf.sum(sparseSoftmaxCrossEntropy(x as tf.Tensor2D, labels)),
  )([logits]);
  t.ok(distance([...value.dataSync()], [2e4 + Math.log(2)]) < 1e-6, `${value.dataSync()}`);
  t.ok(distance([...(grads[0]?.dataSync() ?? [])], [1, -1, 0, 0, 0.5, -0.5]) < 1e-6, `${grads[0]?.dataSync()}`);
});

t.test("a label that is no class is a coded error", async (t) => {
  const logits = tf.zeros([2, 3]) as tf.Tensor2D;
  t.throws(() => sparseSoftmaxCrossEntropy(logits, tf.tensor1d([0, 3], "int32")).dataSync(), {
    code: "OP_FAILED",
    message: /label value of 3.*valid range/,
  });
});

t.test("kernels leave no tensor behind, inside and outside of tidy", async (t) => {
  const [a, b, bias] = [tensor([1, 4, 3]), tensor([1, 3, 5]), tensor([5])];
  const once = () => {
    const product = tf.matMul(a, b);
    const added = tf.add(product, bias);
    const rectified = tf.relu(added);
    const summed = tf.sum(rectified, [0, 1]);
    for (const x of [product, added, rectified, summed]) x.dispose();
  };
  once();
  const before = [backend.tensorCount(), tf.memory().numTensors, tf.memory().numDataBuffers];
  once();
  tf.tidy(once);
  t.same([backend.tensorCount(), tf.memory().numTensors, tf.memory().numDataBuffers], before);
});

t.test("cross-entropy as GPUs compute it, from deterministic kernels, gives what TensorFlow's op gives", async (t) => {
  for (const size of [1, 30, 1e4]) {
    const logits = tf.mul(tensor([6, 10]), size) as tf.Tensor2D;
    const labels = tf.tensor1d([0, 9, 3, 3, 5, 1], "int32");
    const op = tf.engine().runKernel(crossEntropyKernel, { logits, labels }) as tf.Tensor[];
    const composed = composedCrossEntropy({ logits, labels }, {}, tf.backend() as never) as tf.Tensor[];
    composed.forEach((found, output) => {
      const difference = distance([...found.dataSync()], [...(op[output]?.dataSync() ?? [])]);
      t.ok(difference < 2e-6, `logits up to ${size}, output ${output}: ${difference}`);
    });
  }
});
