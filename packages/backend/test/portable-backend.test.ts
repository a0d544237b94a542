/** A program's life on the portable backend. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { Worker } from "node:worker_threads";
import t from "tap";
import tf from "#tfjs";
import { BackendError } from "../src/backend-error.ts";
import { openPortableBackend } from "../src/portable/portable-backend.ts";
import { captureOver } from "./fixtures/captured-function.ts";
import { hashOfSteps, trainingStep } from "./fixtures/portable-thread.ts";

const errorListeners = () => process.listenerCount("uncaughtException") + process.listenerCount("unhandledRejection");
const listeners = errorListeners();
const backend = await openPortableBackend();
const random = { seed: 0, step: 0, firstSlot: 0 };

t.test("it says what it is, and leaves the process's handling of errors alone", async (t) => {
  t.match(backend, { name: "portable", device: { kind: "cpu", name: cpus()[0]?.model.trim() }, version: /^4\./ });
  t.equal(tf.getBackend(), "wasm");
  t.equal(errorListeners(), listeners);
});

t.test("a call computes with what the memory holds then", async (t) => {
  const variable = tf.variable(tf.zeros([2, 2]));
  const captured = captureOver(
    backend,
    [
      { shape: [2, 2], values: [1, 2, 3, 4], variable },
      { shape: [2], values: [10, 20] },
    ],
    ([w, x]) => [tf.matMul(w as tf.Tensor, tf.reshape(x as tf.Tensor, [2, 1])), tf.mul(x as tf.Tensor, 2)],
  );
  const plain = () => captured.run().map((output) => [...output]);
  t.same(plain(), [
    [50, 110],
    [20, 40],
  ]);
  captured.inputs[0]?.set([0, 1, 1, 0]);
  t.same(plain(), [
    [20, 10],
    [20, 40],
  ]);
  captured.inputs[1]?.set([3, 5]);
  t.same(plain(), [
    [5, 3],
    [6, 10],
  ]);
  t.same([...variable.dataSync()], [0, 0, 0, 0], "the variable is what it was");
  t.equal(captured.step.eagerBecause, null);
  t.ok(captured.step.ops >= 3, `${captured.step.ops} ops`);
  variable.dispose();
});

t.test("a convolution's filter is read anew at each call", async (t) => {
  const variable = tf.variable(tf.zeros([1, 1, 1, 1]));
  const image = { shape: [1, 2, 2, 1], values: [1, 2, 3, 4] };
  const captured = captureOver(backend, [image, { shape: [1, 1, 1, 1], values: [1], variable }], ([x, filter]) => [
    tf.conv2d(x as tf.Tensor4D, filter as tf.Tensor4D, 1, "valid"),
  ]);
  for (const factor of [2, 5, -1]) {
    captured.inputs[1]?.set([factor]);
    t.same(
      [...(captured.run()[0] ?? [])],
      [1, 2, 3, 4].map((value) => value * factor),
    );
  }
  variable.dispose();
});

t.test("integers go in and out", async (t) => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const integers = new Int32Array(memory.buffer);
  const step = backend.prepare({
    memory,
    feeds: [{ byteOffset: 64, shape: [3], dtype: "int32" }],
    body: ([x]) => [tf.mul(x as tf.Tensor, tf.scalar(2, "int32"))],
  });
  integers.set([5, -6, 7], 16);
  step.run({ outputs: [128], random });
  t.same([...integers.subarray(32, 35)], [10, -12, 14]);
});

t.test("stages are handed over in order, once all is written", async (t) => {
  const x = { shape: [4], values: [1, 2, 3, 4] };
  const body = ([a]: readonly tf.Tensor[]) => [1, 2, 3].map((factor) => tf.mul(a as tf.Tensor, factor));
  const staged = captureOver(backend, [x], body, { stages: [[2], [0, 1]] });
  const seen: number[] = [];
  staged.run(random, (stage) => seen.push(stage));
  t.same(seen, [0, 1]);
  const single: number[] = [];
  captureOver(backend, [x], body).run(random, (stage) => single.push(stage));
  t.same(single, [0]);
});

t.test("what is wrong shows when a program is prepared, with its reason", async (t) => {
  const wrong = (body: () => tf.Tensor[], options = {}) =>
    captureOver(backend, [{ shape: [2], values: [1, 2] }], body, options);
  t.throws(() => wrong(() => [tf.matMul(tf.ones([2, 3]), tf.ones([2, 3]))]), { code: "OP_FAILED", message: /inner/i });
  t.throws(() => wrong(() => [tf.randomUniform([3])]), { code: "RANDOM_IN_STEP" });
  t.throws(() => wrong(() => [tf.ones([1])], { precision: "bfloat16" }), {
    code: "PRECISION_UNSUPPORTED",
    message: /float32.*bfloat16/,
  });
  t.throws(() => wrong(() => [tf.ones([1])], { compiler: "xla" }), {
    code: "COMPILER_UNSUPPORTED",
    message: /found "xla"; set compiler to "grappler"/,
  });
});

t.test("an output that is gone, or no number, is refused", async (t) => {
  let make = (): tf.Tensor => tf.ones([2]);
  const captured = captureOver(backend, [], () => [make()]);
  captured.run();
  make = () => {
    const tensor = tf.ones([2]);
    tensor.dispose();
    return tensor;
  };
  t.throws(() => captured.run(), { code: "TENSOR_UNKNOWN" });
  make = () => tf.onesLike(tf.tensor1d([1, 0], "bool"));
  t.throws(() => captured.run(), { code: "OP_FAILED", message: /bool/ });
  make = () => tf.ones([2]);
  t.same(captured.run(), [Float32Array.of(1, 1)], "and the program goes on");
  t.throws(() => captured.step.run({ outputs: [], random }), { code: "OP_FAILED" });
});

t.test(
  "two hundred calls leave tensors and memory as they were; a program that was disposed runs no more",
  async (t) => {
    const before = backend.tensorCount();
    const captured = trainingStep(backend);
    const held = backend.tensorCount();
    for (let call = 0; call < 10; call += 1) captured.run({ seed: 1, step: call, firstSlot: 0 });
    const { bytes } = memoryNow();
    for (let call = 0; call < 200; call += 1) captured.run({ seed: 1, step: call, firstSlot: call });
    t.equal(backend.tensorCount(), held);
    t.equal(memoryNow().bytes, bytes);
    captured.step.dispose();
    captured.step.dispose();
    t.throws(() => captured.run(), BackendError);
    t.throws(() => captured.run(), { code: "OP_FAILED" });
    t.equal(held - before, 5, "four variables and the labels, which are the caller's");
  },
);

t.test("a memory that is full is an error, not a crash", async (t) => {
  const tensors: tf.Tensor[] = [];
  const fill = () => {
    for (let i = 0; i < 9; i += 1) tensors.push(tf.engine().makeTensorFromTensorInfo(outputOf(2 ** 29)));
  };
  t.throws(fill, { code: "OP_FAILED", message: /4 GiB/ });
  for (const tensor of tensors) tensor.dispose();
  t.same([...tf.add(tf.ones([3]), 1).dataSync()], [2, 2, 2], "and the backend goes on");
});

t.test("the kernels have no static data, which would lie in another module's memory", async (t) => {
  const binary = readFileSync(new URL("../kernels/portable.wasm", import.meta.url));
  const sections: number[] = [];
  for (let at = 8; at < binary.length; ) {
    sections.push(binary[at++] ?? 0);
    let size = 0;
    let shift = 0;
    let byte: number;
    do {
      byte = binary[at++] ?? 0;
      size |= (byte & 0x7f) << shift;
      shift += 7;
    } while (byte & 0x80);
    at += size;
  }
  const [code, data] = [10, 11];
  t.ok(sections.includes(code));
  t.notOk(sections.includes(data));
});

t.test("threads and the main thread compute the same bits", async (t) => {
  const entry = new URL("./fixtures/portable-thread.js", import.meta.url);
  const threads = [new Worker(entry), new Worker(entry)];
  const answers = await Promise.all(threads.map(async (thread) => (await once(thread, "message"))[0]));
  const own = hashOfSteps(trainingStep(backend));
  t.same(answers, [own, own]);
  await Promise.all(threads.map((thread) => thread.terminate()));
});

interface WasmBackend extends tf.KernelBackend {
  readonly wasm: { readonly HEAPU8: Uint8Array };
  makeOutput(shape: number[], dtype: tf.DataType): tf.TensorInfo;
}

const wasm = () => tf.backend() as WasmBackend;
const memoryNow = () => ({ bytes: wasm().wasm.HEAPU8.byteLength });
const outputOf = (bytes: number) => wasm().makeOutput([bytes / 4], "float32");
