/** Products of matrices, sums, activations and other ops on the portable backend. */

import t from "tap";
import tf from "#tfjs";
import { withDraws } from "../src/keyed-random.ts";
import { openPortableBackend } from "../src/portable/portable-backend.ts";
import { type Case, check, numbers, registerOnCpu, relativeError } from "./fixtures/reference-kernels.ts";

await openPortableBackend();
registerOnCpu();

t.test("products of matrices", async (t) => {
  const sizes = [
    [1, 1, 1],
    [4, 8, 4],
    [5, 9, 7],
    [17, 33, 300],
    [130, 6, 260],
    [64, 520, 12],
    [2, 3, 1000],
  ] as const;
  const cases = [false, true].flatMap((transposeA) =>
    [false, true].flatMap((transposeB) =>
      [[], [3], [2, 2]].flatMap((batch) =>
        sizes.map(([m, n, k]) => {
          const a = [...batch, ...(transposeA ? [k, m] : [m, k])];
          const b = [...batch, ...(transposeB ? [n, k] : [k, n])];
          return {
            name: `matMul ${a.join("x")}${transposeA ? "^T" : ""} by ${b.join("x")}${transposeB ? "^T" : ""}`,
            f: (x: tf.Tensor, y: tf.Tensor) => tf.matMul(x, y, transposeA, transposeB),
            inputs: [a, b],
          };
        }),
      ),
    ),
  );
  await check(t, cases as Case[]);
  const fused = (activation: "linear" | "relu" | "sigmoid", m: number): Case => ({
    name: `fused matMul, ${activation}, ${m} rows`,
    f: (a, b, bias) =>
      tf.customGrad((x: tf.Tensor | tf.GradSaveFunc) => ({
        // Without a gradient of its own: inside one, tfjs does not fuse.
        value: tf.fused.matMul({ a: x as tf.Tensor, b: b as tf.Tensor2D, bias: bias as tf.Tensor, activation }),
        gradFunc: (dy: tf.Tensor) => tf.matMul(dy, b as tf.Tensor, false, true),
      }))(a as tf.Tensor),
    inputs: [[m, 7], [7, 9], [9]],
  });
  for (const each of (["linear", "relu", "sigmoid"] as const).flatMap((a) => [fused(a, 3), fused(a, 20)])) {
    await check(t, [
      {
        ...each,
        f: (a, b, bias) =>
          tf.add(
            each.f(a as tf.Tensor, b as tf.Tensor, bias as tf.Tensor),
            tf.mul(tf.add(tf.sum(b as tf.Tensor), tf.sum(bias as tf.Tensor)), 0),
          ),
      },
    ]);
  }
});

t.test("products of few rows within a program, where nothing is kept packed", async (t) => {
  for (const rows of [1, 5]) {
    const multiply = () => tf.matMul(numbers([rows, 7], 1), numbers([7, 9], 2)).dataSync();
    const unused = { draw: () => tf.zeros([0]) };
    const found = withDraws(unused, multiply) as Float32Array;
    t.ok(relativeError(found, multiply() as Float32Array) <= 1e-6, `${rows} rows`);
  }
});

t.test("sums, means, biases", async (t) => {
  const shapes = [
    [2, 3, 4, 5],
    [300, 7],
    [1, 1],
    [70, 4, 32],
    [4, 0 + 1, 6],
  ];
  const cases = shapes.flatMap((shape) =>
    [[0], [0, 1], [1], [-1], [1, 2], [2, 1], shape.map((_, i) => i)]
      .filter((axes) => axes.every((axis) => axis < shape.length))
      .flatMap((axes) =>
        [false, true].flatMap((keep) => [
          {
            name: `sum of ${shape.join("x")} over ${axes}, ${keep}`,
            f: ((x) => tf.sum(x as tf.Tensor, axes, keep)) as Case["f"],
            inputs: [shape],
          },
          {
            name: `mean of ${shape.join("x")} over ${axes}, ${keep}`,
            f: ((x) => tf.mean(x as tf.Tensor, axes, keep)) as Case["f"],
            inputs: [shape],
          },
        ]),
      ),
  );
  await check(t, cases);
  await check(
    t,
    [
      [[2, 3, 4, 5], [5]],
      [[3, 8], [8]],
      [[3, 8], [1]],
      [
        [3, 1],
        [1, 4],
      ],
      [[8], [8]],
      [[8], [3, 8]],
      [
        [2, 3, 4],
        [3, 4],
      ],
    ].map((inputs) => ({
      name: `add ${inputs.map((s) => s.join("x")).join(" ")}`,
      f: (a, b) => tf.add(a as tf.Tensor, b as tf.Tensor),
      inputs,
    })),
  );
});

t.test("comparisons with a number, a NaN, and of tensors", async (t) => {
  const compare = () =>
    [tf.greaterEqual, tf.greater, tf.lessEqual, tf.less].flatMap((relation) =>
      [[37], [3, 5], [], [0]].flatMap((shape) => {
        const x = tf.round(tf.mul(numbers(shape, 1), 3));
        const others = [tf.scalar(1), tf.scalar(Number.NaN), tf.tensor([-1], [1]), x];
        return others.flatMap((other) => [...relation(x, other).dataSync()]);
      }),
    );
  await tf.setBackend("wasm");
  const found = compare();
  await tf.setBackend("cpu");
  t.same(found, compare());
});

t.test("the sum of many rows is as good as one in float64", async (t) => {
  await tf.setBackend("wasm");
  const rows = 200_000;
  const x = tf.fill([rows, 5], 0.1);
  const expected = Math.fround(0.1) * rows;
  for (const found of tf.sum(x, 0).dataSync()) t.ok(Math.abs(found / expected - 1) < 1e-6, `${found}`);
  tf.dispose(x);
});

/** One op for each activation, and what else models are made of. */
t.test("activations and other ops", async (t) => {
  const x: readonly number[] = [3, 4, 5];
  const unary: Record<string, (x: tf.Tensor) => tf.Tensor> = {
    relu: tf.relu,
    relu6: (a) => tf.relu6(tf.mul(a, 10)),
    leakyRelu: (a) => tf.leakyRelu(a, 0.3),
    elu: tf.elu,
    selu: tf.selu,
    sigmoid: tf.sigmoid,
    softplus: tf.softplus,
    tanh: tf.tanh,
    softmax: (a) => tf.softmax(a),
    logSoftmax: (a) => tf.logSoftmax(a),
    abs: tf.abs,
    exp: tf.exp,
    log: (a) => tf.log(tf.add(a, 2)),
    sqrt: (a) => tf.sqrt(tf.add(a, 2)),
    rsqrt: (a) => tf.rsqrt(tf.add(a, 2)),
    square: tf.square,
    erf: tf.erf,
    clip: (a) => tf.clipByValue(a, -0.5, 0.5),
    pow: (a) => tf.pow(tf.add(a, 2), 3),
    max: (a) => tf.max(a, -1),
    min: (a) => tf.min(a, 0),
    reshape: (a) => tf.reshape(a, [4, 15]),
    transpose: (a) => tf.transpose(a, [2, 0, 1]),
    slice: (a) => tf.slice(a, [0, 1, 2], [3, 2, 2]),
    pad: (a) =>
      tf.pad(a, [
        [0, 1],
        [2, 0],
        [1, 1],
      ]),
    mirrorPad: (a) =>
      tf.mirrorPad(
        a,
        [
          [0, 0],
          [1, 2],
          [1, 1],
        ],
        "reflect",
      ),
    tile: (a) => tf.tile(a, [1, 2, 1]),
    split: (a) => tf.add(...(tf.split(a, 2, 1) as [tf.Tensor, tf.Tensor])),
    stack: (a) => tf.stack([a, tf.square(a)], 1),
    reverse: (a) => tf.reverse(a, 1),
    gather: (a) => tf.gather(a, tf.tensor1d([2, 0, 2, 1], "int32"), 1),
    upsampling: (a) => tf.image.resizeNearestNeighbor(tf.reshape(a, [1, 3, 4, 5]) as tf.Tensor4D, [6, 8]),
    // Square: of other images tfjs's CPU backend turns the gradient's shape around.
    bilinear: (a) =>
      tf.image.resizeBilinear(tf.reshape(tf.slice(a, [0, 0, 0], [3, 3, 5]), [1, 3, 3, 5]) as tf.Tensor4D, [6, 7]),
    localResponse: (a) => tf.localResponseNormalization(tf.reshape(a, [1, 3, 4, 5]) as tf.Tensor4D, 2),
    logSumExp: (a) => tf.logSumExp(a, 1),
  };
  await check(
    t,
    Object.entries(unary).map(([name, f]) => ({ name, f: (a) => f(a as tf.Tensor), inputs: [x] })),
  );
  const binary: Record<string, (a: tf.Tensor, b: tf.Tensor) => tf.Tensor> = {
    add: tf.add,
    sub: tf.sub,
    mul: tf.mul,
    div: (a, b) => tf.div(a, tf.add(b, 2)),
    maximum: tf.maximum,
    minimum: tf.minimum,
    concat: (a, b) => tf.concat([a, b], 1),
    where: (a, b) => tf.where(tf.greater(numbers(x, 7), 0), a, b),
    squaredDifference: tf.squaredDifference,
    prelu: (a, b) => tf.prelu(a, b),
    addN: (a, b) => tf.addN([a, b, a]),
  };
  await check(
    t,
    Object.entries(binary).map(([name, f]) => ({
      name,
      f: (a, b) => f(a as tf.Tensor, b as tf.Tensor),
      inputs: [x, x],
    })),
  );
});
