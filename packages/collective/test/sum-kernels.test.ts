import t from "tap";
import { loadSumKernels } from "../src/sum-kernels.ts";
import { roughFloats, seeded } from "./fixtures/random.ts";
import { sameBits } from "./fixtures/seat-order.ts";
import { createSharedMemory } from "./fixtures/shared-memory.ts";

const memory = createSharedMemory(65536);
const kernels = loadSumKernels(memory);
const random = seeded(1);
const [out, a, b] = [0, 4096, 8192];

/** Runs a kernel on `n` floats, `shift` floats past a 64-byte boundary; gives back the result and one float beyond it. */
function run(n: number, shift: number, kernel: (at: number) => void): { before: Float32Array[]; after: Float32Array } {
  const views = [out, a, b].map((at) => new Float32Array(memory.buffer, at + shift * 4, n + 1));
  for (const view of views) view.set(roughFloats(n + 1, random));
  const before = views.map((view) => view.slice());
  kernel(shift * 4);
  return { before, after: new Float32Array(memory.buffer, out + shift * 4, n + 1).slice() };
}

const cases: {
  name: string;
  kernel: (n: number) => (at: number) => void;
  float: (o: number, a: number, b: number) => number;
}[] = [
  { name: "add", kernel: (n) => (at) => kernels.add(out + at, a + at, n), float: (o, a) => Math.fround(o + a) },
  {
    name: "sum",
    kernel: (n) => (at) => kernels.sum(out + at, a + at, b + at, n),
    float: (_, a, b) => Math.fround(a + b),
  },
  { name: "copy", kernel: (n) => (at) => kernels.copy(out + at, a + at, n), float: (_, a) => a },
];
for (const { name, kernel, float } of cases)
  t.test(
    `${name} gives the bits of single additions for every length and alignment, and touches nothing beyond`,
    async (t) => {
      const wrong: string[] = [];
      for (let n = 0; n <= 70; n++)
        for (const shift of [0, 1, 2, 3, 7]) {
          const { before, after } = run(n, shift, kernel(n));
          const [o = after, x = after, y = after] = before;
          const expected = o.map((value, i) => (i < n ? float(value, x[i] ?? 0, y[i] ?? 0) : value));
          if (!sameBits(after, expected)) wrong.push(`${n} floats, shift ${shift}`);
        }
      t.same(wrong, []);
    },
  );

t.test("a sum may be written over one of its terms", async (t) => {
  const x = new Float32Array(memory.buffer, a, 40);
  const y = new Float32Array(memory.buffer, b, 40);
  x.set(roughFloats(40, random));
  y.set(roughFloats(40, random));
  const expected = x.map((value, i) => value + (y[i] ?? 0));
  kernels.sum(a, a, b, 40);
  t.ok(sameBits(x.slice(), expected));
});

t.test("kernels reach the last float of their memory", async (t) => {
  const end = new Float32Array(memory.buffer, 65536 - 80, 20);
  end.fill(1);
  kernels.add(65536 - 80, 65536 - 80, 20);
  t.same([...end], Array<number>(20).fill(2));
});
