import t from "tap";
import tf from "#tfjs";
import { keyedNormal, keyedUniform, openBackend, type Program, sparseSoftmaxCrossEntropy } from "../src/index.ts";
import { requireXla } from "../src/tensorflow/xla.ts";
import { type CapturedOver, captureOver, type Fed, wave } from "./fixtures/captured-function.ts";

const backend = await openBackend({ backend: "tensorflow", device: "cpu" });
type Body = (inputs: readonly tf.Tensor[]) => readonly tf.Tensor[];
const fed = (shape: number[], phase: number): Fed => ({
  shape,
  values: wave(
    shape.reduce((a, b) => a * b, 1),
    phase,
  ),
});

/** Loss and gradients of a convolution with pooling, dropout and a dense layer. */
const inputs = [fed([5, 6, 6, 2], 0), fed([3, 3, 2, 4], 1), fed([36, 3], 2), fed([3], 3)];
const step: Body = ([images, ...weights]) => {
  const labels = tf.tensor1d([0, 1, 2, 1, 0], "int32");
  const loss = (kernel: tf.Tensor, dense: tf.Tensor, bias: tf.Tensor) => {
    const hidden = tf.relu(tf.conv2d(images as tf.Tensor4D, kernel as tf.Tensor4D, 1, "same"));
    const pooled = tf.reshape(tf.maxPool(hidden, 2, 2, "valid"), [5, 36]);
    const dropped = tf.mul(pooled, tf.cast(tf.greaterEqual(keyedUniform([5, 36]), 0.25), "float32"));
    return tf.sum(sparseSoftmaxCrossEntropy(tf.add(tf.matMul(dropped, dense), bias) as tf.Tensor2D, labels));
  };
  const { value, grads } = tf.valueAndGrads(loss)([...weights]);
  return [value, ...grads];
};

const random = { seed: 3, step: 4, firstSlot: 10 };
const largestDifference = (a: readonly Float32Array[], b: readonly Float32Array[]) =>
  Math.max(...a.flatMap((output, o) => [...output].map((value, i) => Math.abs(value - (b[o]?.[i] ?? Number.NaN)))));
const xla = (body: Body, options: Pick<Program, "precision" | "stages"> = {}, over = inputs): CapturedOver =>
  captureOver(backend, over, body, { ...options, compiler: "xla" });

t.test("a training step under XLA is near the kernels', the same bits at each call and in each program", async (t) => {
  const kernels = captureOver(backend, inputs, step);
  const [compiled, again] = [xla(step), xla(step)];
  t.equal(compiled.step.eagerBecause, null);
  t.ok(compiled.step.ops > 10);
  for (const phase of [0, 7]) {
    for (const program of [kernels, compiled, again]) program.inputs[0]?.set(fed([5, 6, 6, 2], phase).values);
    const found = compiled.run(random);
    t.ok(largestDifference(found, kernels.run(random)) < 1e-5);
    t.same(compiled.run(random), found);
    t.same(again.run(random), found);
  }
});

t.test("stages are handed over in order, near what the kernels give", async (t) => {
  const seen: number[] = [];
  const staged = xla(step, { stages: [[2, 3], [], [1, 0]] }).run(random, (stage) => seen.push(stage));
  t.same(seen, [0, 1, 2]);
  t.ok(largestDifference(staged, captureOver(backend, inputs, step).run(random)) < 1e-5);
});

// Four lanes a group, of which 5 numbers a sample begin anywhere.
for (const elements of [8, 5]) {
  t.test(`XLA draws the stream of the kernels, ${elements} numbers a sample, sliced by the slot`, async (t) => {
    const drawing = (samples: number, compiler: "grappler" | "xla") => {
      const body = () => [keyedUniform([samples, elements]), keyedNormal([samples, elements])];
      const { run } = captureOver(backend, [], body, { compiler });
      return (firstSlot: number) => {
        const [uniform = new Float32Array(), normal = new Float32Array()] = run({ ...random, firstSlot });
        return { uniform, normal };
      };
    };
    const { uniform, normal } = drawing(32, "xla")(0);
    const kernels = drawing(32, "grappler")(0);
    t.ok(uniform.every((value) => value >= 0 && value < 1));
    t.same(uniform, kernels.uniform);
    t.ok(largestDifference([normal], [kernels.normal]) < 1e-5);
    const seat = drawing(7, "xla");
    for (const first of [1, 2, 16]) {
      const [from, to] = [first * elements, (first + 7) * elements];
      const slice = seat(first);
      t.same(slice.uniform, uniform.slice(from, to));
      t.ok(largestDifference([slice.normal], [normal.slice(from, to)]) < 1e-6);
    }
  });
}

const refusals: Record<string, { code: string; message: RegExp; refused: () => void }> = {
  "a precision that XLA would ignore": {
    code: "PRECISION_UNSUPPORTED",
    message: /computes in float32, found precision "bfloat16"; set compiler to "grappler"/,
    refused: () => xla(step, { precision: "bfloat16" }),
  },
  "a step that reads a value": {
    code: "COMPILER_UNSUPPORTED",
    message: /a result of Sum is read into JavaScript.*set compiler to "grappler"/,
    refused: () => xla(([x]) => [tf.mul(x as tf.Tensor, tf.sum(x as tf.Tensor).dataSync()[0] ?? 0)]),
  },
  "an op that XLA does not have": {
    code: "COMPILER_UNSUPPORTED",
    message: /XLA has no Dilation2D; set compiler to "grappler"/,
    refused: () => xla(([x]) => [tf.dilation2d(x as tf.Tensor4D, tf.zeros<tf.Rank.R3>([2, 2, 2]), 1, "same")]),
  },
};
for (const [name, { code, message, refused }] of Object.entries(refusals)) {
  t.test(`${name} is refused, says what to do, and leaves no tensor behind`, async (t) => {
    t.throws(refused, { name: "BackendError", code, message });
    const before = backend.tensorCount();
    t.throws(refused);
    t.equal(backend.tensorCount(), before);
  });
}

t.test("a GPU is refused", async (t) => {
  const program: Program = { memory: new WebAssembly.Memory({ initial: 1 }), feeds: [], body: () => [] };
  t.throws(() => requireXla(program, { kind: "gpu", name: "a GPU" }), {
    code: "COMPILER_UNSUPPORTED",
    message: /for the CPU, this thread computes on a GPU/,
  });
});
