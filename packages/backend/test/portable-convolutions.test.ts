/** Convolutions, pooling and their gradients on the portable backend. */

import t from "tap";
import tf from "#tfjs";
import { openPortableBackend } from "../src/portable/portable-backend.ts";
import { check, checkLinear, numbers, registerOnCpu, relativeError } from "./fixtures/reference-kernels.ts";

await openPortableBackend();
registerOnCpu();

type Pad = "same" | "valid" | number | [[number, number], [number, number], [number, number], [number, number]];

t.test("convolutions", async (t) => {
  const table: [x: number[], filter: number[], strides: number | [number, number], pad: Pad][] = [
    [[2, 8, 8, 4], [3, 3, 4, 8], 1, "same"],
    [[1, 7, 9, 3], [3, 3, 3, 5], 1, "same"],
    [[3, 7, 9, 5], [2, 4, 5, 7], 1, "valid"],
    [[2, 9, 7, 6], [5, 3, 6, 9], 1, "same"],
    [[2, 8, 8, 4], [3, 3, 4, 8], 2, "same"],
    [[2, 9, 11, 3], [3, 3, 3, 10], 2, "valid"],
    [[1, 11, 9, 3], [7, 7, 3, 16], [2, 3], "same"],
    [[2, 6, 5, 8], [1, 1, 8, 12], 1, "valid"],
    [[2, 6, 5, 7], [1, 1, 7, 3], 2, "same"],
    [[1, 1, 1, 1], [1, 1, 1, 1], 1, "same"],
    [[2, 6, 6, 3], [3, 3, 3, 4], 1, 2],
    [[2, 6, 6, 3], [3, 3, 3, 4], 1, 3],
    [[1, 4, 4, 3], [4, 4, 3, 4], 1, "valid"],
    [
      [2, 6, 7, 3],
      [3, 2, 3, 4],
      1,
      [
        [0, 0],
        [2, 1],
        [0, 1],
        [0, 0],
      ],
    ],
    [
      [2, 6, 7, 3],
      [3, 2, 3, 4],
      2,
      [
        [0, 0],
        [1, 0],
        [1, 2],
        [0, 0],
      ],
    ],
    // By Winograd's way: enough channels, in fours.
    [[8, 4, 4, 16], [3, 3, 16, 16], 1, "same"],
    [[2, 7, 9, 16], [3, 3, 16, 20], 1, "same"],
    [[6, 6, 7, 20], [3, 3, 20, 16], 1, "valid"],
    [[4, 5, 4, 32], [3, 3, 32, 16], 1, 2],
    [
      [2, 5, 8, 16],
      [3, 3, 16, 16],
      1,
      [
        [0, 0],
        [2, 0],
        [0, 1],
        [0, 0],
      ],
    ],
    [[1, 9, 9, 16], [3, 3, 16, 16], 1, 3],
    [[4, 7, 6, 68], [3, 3, 68, 36], 1, "same"],
    [[5, 20, 20, 16], [3, 3, 16, 24], 1, "same"],
    [[2, 33, 31, 3], [3, 3, 3, 32], 1, "same"],
    [[1, 3, 3, 40], [3, 3, 40, 130], 1, "same"],
  ];
  await check(
    t,
    table.map(([x, filter, strides, pad]) => ({
      name: `conv2d ${x.join("x")} by ${filter.join("x")} / ${strides}, ${JSON.stringify(pad)}`,
      f: (a, b) => tf.conv2d(a as tf.Tensor4D, b as tf.Tensor4D, strides, pad as "same"),
      inputs: [x, filter],
    })),
  );
  const transposed: [x: number[], filter: number[], out: [number, number, number, number], strides: number][] = [
    [[2, 4, 5, 6], [3, 3, 3, 6], [2, 8, 10, 3], 2],
    [[1, 7, 5, 4], [3, 3, 5, 4], [1, 7, 5, 5], 1],
    [[2, 3, 3, 8], [2, 2, 5, 8], [2, 6, 6, 5], 2],
  ];
  await check(
    t,
    transposed.map(([x, filter, out, strides]) => ({
      name: `conv2dTranspose ${x.join("x")} by ${filter.join("x")} / ${strides}`,
      f: (a, b) => tf.conv2dTranspose(a as tf.Tensor4D, b as tf.Tensor4D, out, strides, "same"),
      inputs: [x, filter],
    })),
  );
  await check(t, [
    {
      name: "conv1d",
      f: (a, b) => tf.conv1d(a as tf.Tensor3D, b as tf.Tensor3D, 2, "same"),
      inputs: [
        [2, 11, 3],
        [5, 3, 8],
      ],
    },
    {
      name: "separable",
      f: (a, b, c) => tf.separableConv2d(a as tf.Tensor4D, b as tf.Tensor4D, c as tf.Tensor4D, 1, "same"),
      inputs: [
        [2, 7, 7, 3],
        [3, 3, 3, 2],
        [1, 1, 6, 5],
      ],
    },
  ]);
});

t.test("convolutions with bias and activation, as layers call them outside of training", async (t) => {
  for (const [shape, filterShape] of [
    [
      [2, 9, 8, 16],
      [3, 3, 16, 20],
    ],
    [
      [1, 5, 5, 3],
      [3, 3, 3, 4],
    ],
    [
      [1, 4, 4, 16],
      [3, 3, 16, 16],
    ],
  ] as const) {
    for (const activation of ["linear", "relu", "elu", undefined] as const) {
      const fused = () =>
        tf.fused
          .conv2d({
            x: numbers(shape, 1) as tf.Tensor4D,
            filter: numbers(filterShape, 2) as tf.Tensor4D,
            strides: 1,
            pad: "same",
            bias: numbers(filterShape.slice(3), 3),
            ...(activation && { activation }),
          })
          .dataSync() as Float32Array;
      await tf.setBackend("wasm");
      const found = fused();
      await tf.setBackend("cpu");
      t.ok(relativeError(found, fused()) <= 1e-5, `${shape.join("x")} by ${filterShape.join("x")}, ${activation}`);
    }
  }
  await tf.setBackend("wasm");
});

t.test("dilated convolutions, forward", async (t) => {
  for (const dilation of [1, 2, 3]) {
    const f = () =>
      tf.conv2d(
        numbers([2, 11, 9, 3], 1) as tf.Tensor4D,
        numbers([3, 3, 3, 5], 2) as tf.Tensor4D,
        1,
        "same",
        "NHWC",
        dilation,
      );
    await tf.setBackend("wasm");
    const found = f().dataSync() as Float32Array;
    await tf.setBackend("cpu");
    t.ok(relativeError(found, f().dataSync() as Float32Array) <= 1e-5, `dilation ${dilation}`);
  }
});

t.test("depthwise convolutions", async (t) => {
  const table: [x: number[], filter: number[], strides: number, pad: "same" | "valid" | number][] = [
    [[2, 8, 8, 4], [3, 3, 4, 1], 1, "same"],
    [[1, 7, 9, 5], [3, 3, 5, 1], 2, "same"],
    [[2, 9, 7, 3], [3, 5, 3, 2], 1, "valid"],
    [[2, 9, 7, 6], [3, 3, 6, 3], 2, "valid"],
    [[1, 11, 9, 19], [3, 3, 19, 1], 1, "same"],
    [[2, 9, 9, 2], [2, 3, 2, 2], 1, "same"],
    [[1, 5, 5, 1], [3, 3, 1, 4], 1, "same"],
  ];
  await check(
    t,
    table.map(([x, filter, strides, pad]) => ({
      name: `depthwise ${x.join("x")} by ${filter.join("x")} / ${strides}, ${pad}`,
      f: (a, b) => tf.depthwiseConv2d(a as tf.Tensor4D, b as tf.Tensor4D, strides, pad),
      inputs: [x, filter],
    })),
  );
});

t.test("gradients of dilated depthwise convolutions, which tfjs refuses to call and has on no backend", async (t) => {
  await tf.setBackend("wasm");
  const [x, filter] = [numbers([2, 11, 9, 5], 1), numbers([3, 3, 5, 2], 2)];
  const dy = numbers([2, 11, 9, 10], 6);
  for (const dilation of [2, 3]) {
    const attributes = { strides: [1, 1], dilations: [dilation, dilation], pad: "same" };
    const call = (name: string, inputs: tf.NamedTensorMap, more: object) =>
      tf.engine().runKernel(name, inputs, { ...attributes, ...more } as unknown as tf.NamedAttrMap) as tf.Tensor;
    const f = (a: tf.Tensor, b: tf.Tensor) =>
      tf.depthwiseConv2d(a as tf.Tensor4D, b as tf.Tensor4D, 1, "same", "NHWC", dilation);
    const dx = call("DepthwiseConv2dNativeBackpropInput", { dy, filter }, { inputShape: x.shape });
    await checkLinear(t, `input, dilation ${dilation}`, (a) => f(a, filter), dx, dy);
    const dw = call("DepthwiseConv2dNativeBackpropFilter", { x, dy }, { filterShape: filter.shape });
    await checkLinear(t, `filter, dilation ${dilation}`, (b) => f(x, b), dw, dy);
  }
});

t.test(
  "a padding in pixels around filters and strides that are not square, which tfjs's own shapes get wrong",
  async (t) => {
    await tf.setBackend("wasm");
    const x = numbers([2, 9, 8, 3], 1);
    const filter = numbers([3, 2, 3, 4], 2);
    for (const [strides, pad] of [
      [1, 1],
      [[2, 1], 1],
      [1, 3],
    ] as const) {
      const f = (a: tf.Tensor, b: tf.Tensor) =>
        tf.conv2d(a as tf.Tensor4D, b as tf.Tensor4D, strides as [number, number], pad);
      const value = f(x, filter);
      const padded = tf.pad(x, [
        [0, 0],
        [pad, pad],
        [pad, pad],
        [0, 0],
      ]);
      const expected = tf.conv2d(padded as tf.Tensor4D, filter as tf.Tensor4D, strides as [number, number], "valid");
      t.same(value.shape, expected.shape);
      t.ok(relativeError(value.dataSync() as Float32Array, expected.dataSync() as Float32Array) <= 1e-6);
      const dy = numbers(value.shape, 3);
      const [dx, dw] = tf.grads((a, b) => tf.sum(tf.mul(f(a as tf.Tensor, b as tf.Tensor), dy)) as tf.Scalar)([
        x,
        filter,
      ]);
      await checkLinear(t, `input, ${strides} ${pad}`, (a) => f(a, filter), dx as tf.Tensor, dy);
      await checkLinear(t, `filter, ${strides} ${pad}`, (b) => f(x, b), dw as tf.Tensor, dy);
    }
  },
);

t.test("pooling", async (t) => {
  const table: [
    x: number[],
    size: number | [number, number],
    strides: number | [number, number],
    pad: "same" | "valid" | number,
  ][] = [
    [[2, 8, 8, 4], 2, 2, "valid"],
    [[1, 7, 9, 5], 2, 2, "same"],
    [[2, 7, 9, 3], 3, 2, "same"],
    [[2, 9, 7, 6], [3, 2], [1, 2], "valid"],
    [[2, 6, 6, 9], 3, 1, "same"],
    [[1, 4, 4, 1], 4, 1, "valid"],
    [[2, 6, 6, 3], 3, 2, 1],
  ];
  await check(
    t,
    table.map(([x, size, strides, pad]) => ({
      name: `maxPool ${x.join("x")}, ${size} / ${strides}, ${pad}`,
      f: (a) => tf.maxPool(a as tf.Tensor4D, size, strides, pad),
      inputs: [x],
    })),
  );
  // tfjs's CPU backend divides the gradient by the window's size, also where the forward pass has divided by fewer places.
  await check(
    t,
    table
      .filter(([, , , pad]) => pad === "valid")
      .map(([x, size, strides, pad]) => ({
        name: `avgPool ${x.join("x")}, ${size} / ${strides}, ${pad}`,
        f: (a) => tf.avgPool(a as tf.Tensor4D, size, strides, pad),
        inputs: [x],
      })),
  );
});

t.test("an average's gradient at the image's edge is that of the average", async (t) => {
  await tf.setBackend("wasm");
  for (const [shape, size, strides] of [
    [[1, 7, 5, 3], 3, 2],
    [[2, 4, 4, 5], 2, 1],
  ] as const) {
    const pooled = (x: tf.Tensor) => tf.avgPool(x as tf.Tensor4D, size, strides, "same");
    const x = numbers(shape, 1);
    const weights = numbers(pooled(x).shape, 2);
    const gradient = tf.grad((y: tf.Tensor) => tf.sum(tf.mul(pooled(y), weights)) as tf.Scalar)(x);
    await checkLinear(t, shape.join("x"), pooled, gradient, weights);
  }
});

t.test("the gradient of equal maxima goes to the first", async (t) => {
  await tf.setBackend("wasm");
  const gradient = tf.grad((x: tf.Tensor) => tf.sum(tf.maxPool(x as tf.Tensor4D, 2, 2, "valid")) as tf.Scalar);
  t.same(
    gradient(tf.ones([1, 2, 4, 5])).dataSync(),
    Float32Array.from({ length: 40 }, (_, i) =>
      Number(i % 20 < 5 ? i < 20 && i % 10 < 5 : i < 20 && Math.floor(i / 5) % 2 === 0),
    ),
  );
});
