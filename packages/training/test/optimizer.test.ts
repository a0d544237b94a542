import fc from "fast-check";
import t from "tap";
import { adam } from "../src/adam.ts";
import { type OptimizerSpec, slotNames, updateRange } from "../src/optimizer.ts";
import { loadOptimizerKernels } from "../src/optimizer-kernels.ts";
import { sgd } from "../src/sgd.ts";
import { readGoldenJson } from "./fixtures/golden-file.ts";

/** Written by scripts/golden/make-golden.py from PyTorch. */
interface Golden {
  readonly initial: readonly number[];
  readonly gradients: readonly (readonly number[])[];
  readonly cases: readonly {
    readonly name: string;
    readonly spec: OptimizerSpec;
    readonly after: readonly (readonly number[])[];
  }[];
}
const golden: Golden = readGoldenJson("optimizers");

const STRIDE = 512; // bytes between buffers
const FLOATS = STRIDE / 4;
const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
const kernels = loadOptimizerKernels(memory);

/** Flat buffers in the shared memory: parameters, gradients, and slots of zeros. */
function place(spec: OptimizerSpec, initial: readonly number[]) {
  const buffer = (index: number) => new Float32Array(memory.buffer, index * STRIDE, FLOATS);
  const slots = slotNames(spec).map((_, index) => buffer(2 + index).fill(0));
  const parameters = buffer(0).fill(0);
  parameters.set(initial);
  const gradients = buffer(1).fill(0);
  return { parameters, gradients, slots };
}
type Buffers = ReturnType<typeof place>;

function update(spec: OptimizerSpec, { parameters, gradients, slots }: Buffers, range: Range): void {
  updateRange(kernels, spec, {
    parameters: parameters.byteOffset,
    gradients: gradients.byteOffset,
    slots: slots.map((slot) => slot.byteOffset),
    ...range,
  });
}
interface Range {
  readonly start: number;
  readonly end: number;
  readonly step: number;
  readonly samples: number;
}

/** Runs a step for each gradient, each step cut at `cuts`, and returns the bits of everything that it may have written. */
function train(spec: OptimizerSpec, steps: Steps, cuts: readonly number[] = []): Uint32Array {
  const n = steps.initial.length;
  const buffers = place(spec, steps.initial);
  const edges = [0, ...cuts.map((cut) => Math.min(cut, n)).sort((a, b) => a - b), n];
  for (const [index, gradient] of steps.gradients.entries()) {
    buffers.gradients.set(gradient);
    edges.slice(1).forEach((end, k) => {
      update(spec, buffers, { start: edges[k] ?? 0, end, step: index + 1, samples: steps.samples });
    });
  }
  return new Uint32Array(memory.buffer.slice(0, (2 + buffers.slots.length) * STRIDE));
}
interface Steps {
  readonly initial: readonly number[];
  readonly gradients: readonly (readonly number[])[];
  readonly samples: number;
}

t.test("parameters follow PyTorch's for ten steps", async (t) => {
  t.equal(golden.cases.length, 7);
  for (const { name, spec, after } of golden.cases) {
    const n = golden.initial.length;
    const buffers = place(spec, golden.initial);
    let furthest = 0;
    for (const [index, expected] of after.entries()) {
      buffers.gradients.set(golden.gradients[index] ?? []);
      update(spec, buffers, { start: 0, end: n, step: index + 1, samples: 1 });
      for (const [i, value] of expected.entries()) {
        furthest = Math.max(furthest, Math.abs((buffers.parameters[i] ?? Number.NaN) - value) / Math.abs(value));
      }
    }
    t.ok(furthest < 1e-6, `${name}: ${furthest} relative`);
    t.ok(
      buffers.parameters.subarray(n).every((value) => value === 0),
      `${name}: nothing is written behind the range`,
    );
  }
});

const specs: readonly (readonly [string, OptimizerSpec])[] = golden.cases.map(({ name, spec }) => [name, spec]);

/** float32 of every size down to the subnormal, and as many of ordinary size: fast-check's own lie near 0. */
const value = fc.oneof(
  fc.float({ noNaN: true, noDefaultInfinity: true, min: -1000, max: 1000 }),
  fc.integer({ min: -(2 ** 24), max: 2 ** 24 }).map((units) => units / 2 ** 21),
);
const stepsOf = (n: number): fc.Arbitrary<Steps> =>
  fc.record({
    initial: fc.array(value, { minLength: n, maxLength: n }),
    gradients: fc.array(fc.array(value, { minLength: n, maxLength: n }), { minLength: 1, maxLength: 3 }),
    samples: fc.integer({ min: 1, max: 4096 }),
  });

t.test("a range cut anywhere has the same bits", async (t) => {
  for (const [name, spec] of specs) {
    const cutSteps = fc
      .integer({ min: 0, max: 41 })
      .chain((n) => fc.record({ steps: stepsOf(n), cuts: fc.array(fc.nat({ max: n }), { maxLength: 6 }) }));
    fc.assert(
      fc.property(
        cutSteps,
        ({ steps, cuts }) => Buffer.compare(bytes(train(spec, steps)), bytes(train(spec, steps, cuts))) === 0,
      ),
      { numRuns: 100 },
    );
    t.pass(name);
  }
});

t.test("every length leaves what lies around the range as it was", async (t) => {
  for (const [name, spec] of specs) {
    for (let n = 0; n <= 9; n++) {
      const buffers = place(spec, []);
      const all = [buffers.parameters, buffers.gradients, ...buffers.slots];
      for (const buffer of all) buffer.fill(0.5);
      update(spec, buffers, { start: 3, end: 3 + n, step: 1, samples: 2 });
      const written = all.map((buffer) => [...buffer.keys()].filter((i) => buffer[i] !== 0.5));
      const range = Array.from({ length: n }, (_, i) => 3 + i);
      t.same(written, [range, [], ...buffers.slots.map(() => range)], `${name}, ${n} floats`);
    }
  }
});

t.test("gradients are sums, divided by the samples", async (t) => {
  for (const [name, spec] of specs) {
    // With a power of two the division is exact, so summed gradients have the bits of mean ones.
    const mean: Steps = { initial: golden.initial, gradients: golden.gradients, samples: 1 };
    const summed: Steps = {
      ...mean,
      gradients: mean.gradients.map((gradient) => gradient.map((g) => Math.fround(g) * 64)),
      samples: 64,
    };
    const places = (run: Uint32Array) => [run.slice(0, FLOATS), run.slice(2 * FLOATS)]; // all but the gradients
    t.same(places(train(spec, summed)), places(train(spec, mean)), name);
    t.notSame(places(train(spec, { ...summed, samples: 32 })), places(train(spec, mean)), `${name}: samples matter`);
  }
});

t.test("each operation rounds to float32 by itself, none is fused", async (t) => {
  const f = Math.fround;
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(value, value, value, value, fc.integer({ min: 1, max: 4096 }), (w0, g1, g2, g3, samples) => {
        const spec = sgd({ learningRate: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.3 });
        const buffers = place(spec, [w0]);
        let w = f(w0);
        let buffer = 0;
        [g1, g2, g3].forEach((gradient, index) => {
          const g = f(f(f(gradient) * f(1 / samples)) + f(w * f(0.3)));
          buffer = f(f(buffer * f(0.9)) + g);
          w = f(w - f(f(0.1) * f(g + f(buffer * f(0.9)))));
          buffers.gradients[0] = gradient;
          update(spec, buffers, { start: 0, end: 1, step: index + 1, samples });
        });
        return buffers.parameters[0] === w && buffers.slots[0]?.[0] === buffer;
      }),
    ),
  );
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(value, value, value, fc.integer({ min: 1, max: 4096 }), (w0, g1, g2, samples) => {
        const spec = adam({ weightDecay: 0.3 });
        const buffers = place(spec, [w0]);
        let [w, m, v] = [f(w0), 0, 0];
        [g1, g2].forEach((gradient, index) => {
          const [power1, power2] = index === 0 ? [0.9, 0.999] : [0.9 * 0.9, 0.999 * 0.999];
          const g = f(f(f(gradient) * f(1 / samples)) + f(w * f(0.3)));
          m = f(m + f(f(1 - 0.9) * f(g - m)));
          v = f(f(v * f(0.999)) + f(f(f(1 - 0.999) * g) * g));
          const denominator = f(f(f(Math.sqrt(v)) / f(Math.sqrt(1 - power2))) + f(1e-8));
          w = f(w - f(f(f(0.001 / (1 - power1)) * m) / denominator));
          buffers.gradients[0] = gradient;
          update(spec, buffers, { start: 0, end: 1, step: index + 1, samples });
        });
        return buffers.parameters[0] === w && buffers.slots[0]?.[0] === m && buffers.slots[1]?.[0] === v;
      }),
    ),
  );
});

t.test("momentum 0 is written without a buffer, and gives what a buffer would", async (t) => {
  const steps: Steps = { initial: golden.initial, gradients: golden.gradients, samples: 3 };
  const without = train(sgd({ learningRate: 0.1 }), steps).subarray(0, FLOATS);
  const buffers = place(sgd({ learningRate: 0.1, momentum: 0.5 }), steps.initial);
  for (const gradient of steps.gradients) {
    buffers.gradients.set(gradient);
    const [slot] = buffers.slots;
    kernels.sgdMomentum(0, STRIDE, slot?.byteOffset ?? 0, steps.initial.length, 1 / 3, 0, 0.1, 0, false);
  }
  t.same(new Uint32Array(memory.buffer.slice(0, STRIDE)), without);
});

t.test("an update that cannot be right is refused before anything is written", async (t) => {
  const spec = adam();
  const range = { parameters: 0, gradients: 512, slots: [1024, 1536], start: 0, end: 8, step: 1, samples: 1 };
  const before = Buffer.from(memory.buffer.slice(0));
  const refused: readonly (readonly [() => unknown, string])[] = [
    [() => updateRange(kernels, spec, { ...range, step: 0 }), "INVALID_UPDATE"],
    [() => updateRange(kernels, spec, { ...range, samples: 0 }), "INVALID_UPDATE"],
    [() => updateRange(kernels, spec, { ...range, samples: Number.NaN }), "INVALID_UPDATE"],
    [() => updateRange(kernels, spec, { ...range, start: 9 }), "INVALID_UPDATE"],
    [() => updateRange(kernels, spec, { ...range, end: 8.5 }), "INVALID_UPDATE"],
    [() => updateRange(kernels, spec, { ...range, gradients: 513 }), "INVALID_UPDATE"],
    [() => updateRange(kernels, spec, { ...range, slots: [1024] }), "INVALID_UPDATE"],
    [() => updateRange(kernels, { ...spec, learningRate: Number.NaN }, range), "INVALID_OPTIMIZER"],
  ];
  for (const [make, code] of refused) t.throws(make, { code });
  t.ok(Buffer.from(memory.buffer.slice(0)).equals(before));
  t.throws(() => updateRange(kernels, spec, { ...range, end: 1 << 20 }), /out of bounds/);
});

t.test("loading the kernels writes nothing, and only a shared memory will do", async (t) => {
  const fresh = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
  loadOptimizerKernels(fresh);
  t.ok(new Uint8Array(fresh.buffer).every((byte) => byte === 0));
  const own = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: false });
  t.throws(() => loadOptimizerKernels(own), { code: "MEMORY_NOT_SHARED" });
});

function bytes(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}
