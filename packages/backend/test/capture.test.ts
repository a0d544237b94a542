import t from "tap";
import tf from "#tfjs";
import { cpuFeatures, isInProgram, keyedUniform, openBackend, sparseSoftmaxCrossEntropy } from "../src/index.ts";
import { captureOver, type Fed, wave } from "./fixtures/captured-function.ts";

const features = cpuFeatures();
const hasBfloat16 = features.includes("avx512_bf16") || features.includes("amx_bf16");
const backend = await openBackend({ backend: "tensorflow", device: "cpu" });
const fed = (shape: number[], phase = 0): Fed => ({
  shape,
  values: wave(
    shape.reduce((a, b) => a * b, 1),
    phase,
  ),
});
const eager = (inputs: readonly Fed[], body: (inputs: readonly tf.Tensor[]) => readonly tf.Tensor[]) =>
  tf.tidy(() =>
    body(inputs.map(({ shape, values }) => tf.tensor([...values], [...shape]))).map((x) => [...x.dataSync()]),
  );
const near = (found: readonly Float32Array[], expected: readonly number[][]) =>
  found.length === expected.length &&
  found.every(
    (output, index) =>
      output.length === expected[index]?.length &&
      output.every((value, i) => Math.abs(value - (expected[index]?.[i] ?? Number.NaN)) < 1e-5),
  );

type Body = (inputs: readonly tf.Tensor[]) => readonly tf.Tensor[];
const at = (inputs: readonly tf.Tensor[], index: number) => inputs[index] as tf.Tensor;
const bodies: Record<string, { inputs: Fed[]; body: Body }> = {
  "one op": { inputs: [fed([3, 4])], body: (x) => [tf.relu(at(x, 0))] },
  "an input handed back": { inputs: [fed([3])], body: (x) => [at(x, 0), tf.neg(at(x, 0))] },
  "a constant handed back": { inputs: [fed([3])], body: () => [tf.scalar(7)] },
  "a value used twice": { inputs: [fed([3])], body: (x) => [tf.mul(at(x, 0), at(x, 0))] },
  "an output given twice": {
    inputs: [fed([3])],
    body: (x) => {
      const y = tf.exp(at(x, 0));
      return [y, y];
    },
  },
  "concat, of two and of three": {
    inputs: [fed([2, 3]), fed([2, 3], 1)],
    body: (x) => [tf.concat([at(x, 0), at(x, 1)], 0), tf.concat([at(x, 0), at(x, 1), at(x, 0)], 1)],
  },
  addN: { inputs: [fed([4]), fed([4], 1), fed([4], 2)], body: (x) => [tf.addN([...x])] },
  "addN of one": { inputs: [fed([4])], body: (x) => [tf.addN([...x])] },
  stack: { inputs: [fed([4]), fed([4], 1)], body: (x) => [tf.stack([...x], 0), tf.stack([...x], 1)] },
  unstack: { inputs: [fed([3, 2])], body: (x) => tf.unstack(at(x, 0)) },
  split: { inputs: [fed([6, 2])], body: (x) => tf.split(at(x, 0), 3) },
  "pad, slice, transpose, gather": {
    inputs: [fed([3, 4])],
    body: (x) => [
      tf.pad(at(x, 0), [
        [1, 0],
        [0, 2],
      ]),
      tf.slice(at(x, 0), [1, 1], [2, 2]),
      tf.transpose(at(x, 0)),
      tf.gather(at(x, 0), tf.tensor1d([2, 0], "int32")),
    ],
  },
  "a tensor disposed inside": {
    inputs: [fed([3])],
    body: (x) => {
      const doubled = tf.mul(at(x, 0), 2);
      const result = tf.add(doubled, 1);
      doubled.dispose();
      return [result];
    },
  },
  "a gradient of convolution, pooling and cross-entropy": {
    inputs: [fed([5, 6, 6, 2]), fed([3, 3, 2, 4], 1), fed([36, 3], 2), fed([3], 3)],
    body: (x) => {
      const labels = tf.tensor1d([0, 1, 2, 1, 0], "int32");
      const loss = (kernel: tf.Tensor, dense: tf.Tensor, bias: tf.Tensor) => {
        const hidden = tf.relu(tf.conv2d(at(x, 0) as tf.Tensor4D, kernel as tf.Tensor4D, 1, "same"));
        const pooled = tf.reshape(tf.maxPool(hidden, 2, 2, "valid"), [5, 36]);
        const logits = tf.add(tf.matMul(pooled, dense as tf.Tensor2D), bias) as tf.Tensor2D;
        return tf.sum(sparseSoftmaxCrossEntropy(logits, labels));
      };
      const { value, grads } = tf.valueAndGrads(loss)([at(x, 1), at(x, 2), at(x, 3)]);
      return [value, ...grads];
    },
  },
};

for (const [name, { inputs, body }] of Object.entries(bodies)) {
  t.test(`a captured function gives what its ops give eagerly: ${name}`, async (t) => {
    const expected = eager(inputs, body);
    const captured = captureOver(backend, inputs, body);
    t.ok(near(captured.run(), expected));
    t.ok(near(captured.run(), expected), "and again");
    const others = inputs.map(({ shape }, index) => fed([...shape], 7 + index));
    others.forEach(({ values }, index) => {
      captured.inputs[index]?.set(values);
    });
    t.ok(near(captured.run(), eager(others, body)), "what is written to the shared memory later is what it sees");
    captured.step.dispose();
  });
}

t.test("a tensor from outside that is no input is frozen as it was", async (t) => {
  const outside = tf.variable(tf.tensor1d([1, 2]));
  const captured = captureOver(backend, [fed([2])], (x) => [tf.add(tf.mul(at(x, 0), 0), outside)]);
  outside.assign(tf.tensor1d([5, 6]));
  t.same([...(captured.run()[0] ?? [])], [1, 2]);
  outside.dispose();
  t.same([...(captured.run()[0] ?? [])], [1, 2]);
});

t.test("random numbers are drawn anew at each call, in eager and captured ops of any mix", async (t) => {
  const captured = captureOver(backend, [fed([4, 3])], (x) => [tf.add(tf.mul(at(x, 0), 0), keyedUniform([4, 3]))]);
  const first = captured.run({ seed: 1, step: 1, firstSlot: 0 })[0];
  t.notSame(captured.run({ seed: 1, step: 2, firstSlot: 0 })[0], first);
  t.same(captured.run({ seed: 1, step: 1, firstSlot: 0 })[0], first);
});

const disposed = tf.tensor1d([1]);
disposed.dispose();
const refusals: Record<string, { code: string; message: RegExp; body: Body }> = {
  "a random number drawn in JavaScript": {
    code: "RANDOM_IN_STEP",
    message: /keyedUniform/,
    body: (x) => [tf.mul(at(x, 0), tf.randomUniform([3]))],
  },
  "tf.dropout": { code: "RANDOM_IN_STEP", message: /keyedUniform/, body: (x) => [tf.dropout(at(x, 0), 0.5)] },
  "Math.random": { code: "RANDOM_IN_STEP", message: /keyedUniform/, body: (x) => [tf.mul(at(x, 0), Math.random())] },
  "a disposed tensor handed back": {
    code: "TENSOR_UNKNOWN",
    message: /disposed/,
    body: (x) => {
      const y = tf.exp(at(x, 0));
      y.dispose();
      return [y];
    },
  },
  "a tensor disposed before": { code: "TENSOR_UNKNOWN", message: /disposed/, body: () => [disposed] },
  "an op that fails": {
    code: "OP_FAILED",
    message: /./,
    body: (x) => [tf.engine().runKernel("Reshape", { x: at(x, 0) }, { shape: [5] }) as tf.Tensor],
  },
};
for (const [name, { code, message, body }] of Object.entries(refusals)) {
  t.test(`${name} inside a captured step is refused, and leaves nothing changed`, async (t) => {
    const { random } = Math;
    const before = backend.tensorCount();
    t.throws(() => captureOver(backend, [fed([3])], (x) => body([tf.relu(at(x, 0))])), {
      name: "BackendError",
      code,
      message,
    });
    t.equal(Math.random, random, "Math.random is JavaScript's again");
    t.notOk(isInProgram());
    t.equal(backend.tensorCount(), before, "no tensor stays");
    t.same([...tf.add(tf.tensor1d([1, 2]), 1).dataSync()], [2, 3], "eager ops go on");
    t.ok(near(captureOver(backend, [fed([3])], (x) => [tf.neg(at(x, 0))]).run(), [fed([3]).values.map((v) => -v)]));
  });
}

t.test("an error of the body's own gets a code and keeps its words", async (t) => {
  t.throws(
    () =>
      captureOver(backend, [], () => {
        throw new RangeError("mine");
      }),
    { code: "OP_FAILED", message: "a program failed in the tensorflow backend: mine", cause: new RangeError("mine") },
  );
  t.notOk(isInProgram());
});

t.test("a disposed function refuses to run, and is disposed once", async (t) => {
  const captured = captureOver(backend, [fed([2, 3])], (x) => [tf.add(at(x, 0), keyedUniform([2, 3]))]);
  const other = captureOver(backend, [fed([2])], (x) => [tf.neg(at(x, 0))]);
  captured.run();
  captured.step.dispose();
  t.throws(() => captured.run(), { code: "OP_FAILED", message: /disposed/ });
  t.doesNotThrow(() => captured.step.dispose());
  t.ok(near(other.run(), [fed([2]).values.map((v) => -v)]), "others are not affected");
});

t.test("300 calls of a captured step leave no tensor behind", async (t) => {
  const { inputs, body } = bodies["a gradient of convolution, pooling and cross-entropy"] as {
    inputs: Fed[];
    body: Body;
  };
  const captured = captureOver(backend, inputs, (x) => [...body(x), tf.mul(keyedUniform([5, 7]), 2)]);
  captured.run();
  const before = backend.tensorCount();
  const bits = () =>
    Buffer.from(captured.run({ seed: 1, step: 2, firstSlot: 3 })[1]?.buffer ?? new ArrayBuffer()).toString("hex");
  const first = bits();
  for (let call = 0; call < 300; call++) captured.run({ seed: 1, step: call, firstSlot: call });
  t.equal(backend.tensorCount(), before);
  t.equal(bits(), first, "and the bits stay");
});

t.test("a function that was captured and disposed leaves no tensor behind", async (t) => {
  const once = () =>
    captureOver(backend, [fed([5, 3])], (x) => [tf.add(at(x, 0), keyedUniform([5, 3]))]).step.dispose();
  once();
  const before = backend.tensorCount();
  for (let i = 0; i < 5; i++) once();
  t.equal(backend.tensorCount(), before);
});

type Run = ReturnType<typeof captureOver>["run"];
const stagesSeen = (run: Run) => {
  const seen: number[] = [];
  return { outputs: run(undefined, (stage) => seen.push(stage)), seen };
};

t.test("a program cut into stages gives what the whole gives, stage by stage", async (t) => {
  const { inputs, body } = bodies["a gradient of convolution, pooling and cross-entropy"] as {
    inputs: Fed[];
    body: Body;
  };
  const whole = captureOver(backend, inputs, body).run();
  for (const stages of [
    [[0, 3], [2], [1]],
    [[1], [0, 2, 3]],
    [[], [0, 1, 2, 3]],
    [[2, 1], [3], [], [0]],
  ]) {
    const { outputs, seen } = stagesSeen(captureOver(backend, inputs, body, { stages }).run);
    t.same(
      seen,
      stages.map((_, stage) => stage),
    );
    t.ok(
      near(
        outputs,
        whole.map((output) => [...output]),
      ),
      JSON.stringify(stages),
    );
  }
});

t.test("what a stage hands over is written before the next begins", async (t) => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const out = new Float32Array(memory.buffer, 128, 32);
  const program = backend.prepare({
    memory,
    feeds: [{ byteOffset: 64, shape: [2], dtype: "float32" }],
    body: ([x]) => [tf.add(at([x as tf.Tensor], 0), 1), tf.add(at([x as tf.Tensor], 0), 2)],
    stages: [[1], [0]],
  });
  const seen: number[][] = [];
  program.run({
    outputs: [128, 192],
    random: { seed: 0, step: 0, firstSlot: 0 },
    onStage: () => seen.push([out[0] ?? 0, out[16] ?? 0]),
  });
  t.same(seen, [
    [0, 2],
    [1, 2],
  ]);
});

t.test("a variable is fed from shared memory and is itself again afterwards", async (t) => {
  const variable = tf.variable(tf.tensor1d([1, 2]));
  const captured = captureOver(backend, [{ shape: [2], values: [10, 20], variable }], () => [tf.mul(variable, 2)]);
  t.same([...variable.dataSync()], [1, 2]);
  t.same([...(captured.run()[0] ?? [])], [20, 40]);
  captured.inputs[0]?.set([5, 6]);
  t.same([...(captured.run()[0] ?? [])], [10, 12]);
  t.same([...variable.dataSync()], [1, 2]);
});

const readers: Record<string, { op: RegExp; body: Body }> = {
  "the result of an op": {
    op: /a result of Sum is read/,
    body: (x) => [tf.mul(at(x, 0), tf.sum(at(x, 0)).dataSync()[0] ?? 0)],
  },
  "an input": {
    op: /an input of the step is read/,
    body: (x) => [tf.mul(at(x, 0), at(x, 0).dataSync()[0] ?? 0)],
  },
  "a value that nobody waits for": {
    op: /a result of Sum is read/,
    body: (x) => {
      void tf.sum(at(x, 0)).data();
      void tf.sum(at(x, 0)).array();
      return [tf.neg(at(x, 0))];
    },
  },
  "a value that chooses what is computed": {
    op: /a result of Max is read/,
    body: (x) => [(tf.max(at(x, 0)).dataSync()[0] ?? 0) > 0 ? tf.neg(at(x, 0)) : tf.exp(at(x, 0))],
  },
};
for (const [name, { op, body }] of Object.entries(readers)) {
  t.test(`a program that reads ${name} runs op by op, and says why`, async (t) => {
    const before = backend.tensorCount();
    const inputs = [fed([3])];
    const drawing: Body = (x) => [...body(x), tf.add(tf.mul(at(x, 0), 0), keyedUniform([3]))];
    const program = captureOver(backend, inputs, drawing, { stages: [[1], [0]] });
    const captured = captureOver(backend, inputs, (x) => [tf.add(tf.mul(at(x, 0), 0), keyedUniform([3]))]);
    t.match(program.step.eagerBecause, op);
    t.equal(captured.step.eagerBecause, null);
    for (const phase of [0, 3, 5]) {
      const { shape, values } = fed([3], phase);
      program.inputs[0]?.set(values);
      const random = { seed: 4, step: phase, firstSlot: 7 };
      const [found = new Float32Array(), drawn] = program.run(random);
      t.ok(near([found], eager([{ shape, values }], body)), "what is read is read anew at each call");
      t.same(drawn, captured.run(random)[0], "and draws the same numbers");
    }
    const during = backend.tensorCount();
    for (let call = 0; call < 50; call++) program.run();
    t.equal(backend.tensorCount(), during);
    program.step.dispose();
    captured.step.dispose();
    t.equal(backend.tensorCount(), before);
  });
}

t.test("what reads a value without waiting gets it at each call, and nothing where there is none yet", async (t) => {
  const seen: number[] = [];
  const { inputs, run, step } = captureOver(backend, [fed([2])], (x) => {
    tf.sum(at(x, 0))
      .data()
      .then(([sum]) => seen.push(sum ?? Number.NaN));
    return [tf.neg(at(x, 0))];
  });
  await new Promise(setImmediate);
  const prepared = seen.length;
  for (const values of [
    [1, 2],
    [4, 5],
  ]) {
    inputs[0]?.set(values);
    run();
    await new Promise(setImmediate);
  }
  t.same(seen.slice(prepared), [3, 9]);
  step.dispose();
});

t.test("reading a constant is no obstacle", async (t) => {
  const program = captureOver(backend, [fed([3])], (x) => [tf.mul(at(x, 0), tf.scalar(3).dataSync()[0] ?? 0)]);
  t.equal(program.step.eagerBecause, null);
});

t.test(
  "bfloat16 of a program that cannot be captured is refused",
  { skip: hasBfloat16 ? false : "needs a CPU with bfloat16" },
  async (t) => {
    const body: Body = (x) => [tf.mul(at(x, 0), tf.sum(at(x, 0)).dataSync()[0] ?? 0)];
    t.throws(() => captureOver(backend, [fed([3])], body, { precision: "bfloat16" }), {
      code: "PRECISION_UNSUPPORTED",
      message: /Sum is read/,
    });
  },
);
