/** The portable backend draws TensorFlow's numbers. */
import t from "tap";
import { keyedNormal, keyedUniform } from "../src/keyed-random.ts";
import { openPortableBackend } from "../src/portable/portable-backend.ts";
import { captureOver } from "./fixtures/captured-function.ts";
import { tensorflowDraws } from "./fixtures/tensorflow-draws.ts";

const backend = await openPortableBackend();

t.test("draws are libtensorflow's: uniform ones bit for bit, normal ones to 1e-6", async (t) => {
  for (const { shape, uniform, normal, second, ...key } of tensorflowDraws) {
    const size = [...shape];
    const step = captureOver(backend, [], () => [keyedUniform(size), keyedNormal(size), keyedUniform(size)]);
    const [first, normals, third] = step.run(key);
    t.same([...(first ?? [])], [...uniform]);
    t.same([...(third ?? [])], [...second]);
    t.equal(normals?.length, normal.length);
    const error = Math.max(...normal.map((value, i) => Math.abs(value - (normals?.[i] ?? Number.NaN))));
    t.ok(error <= 1e-6, `normal numbers differ by ${error}`);
  }
});

t.test("a seat's numbers are its slice of the whole batch's, whatever a sample's size", async (t) => {
  const batch = 24;
  for (const keyed of [keyedUniform, keyedNormal]) {
    for (const elements of [1, 3, 4, 7, 300]) {
      const drawing = (samples: number) =>
        captureOver(backend, [], () => [keyed([samples, 2]), keyed([samples, elements])]);
      const whole = drawing(batch).run({ seed: 42, step: 9, firstSlot: 0 })[1];
      const seat = drawing(5);
      for (const firstSlot of [0, 1, 2, 3, 7, 10, 19]) {
        const slice = whole?.slice(firstSlot * elements, (firstSlot + 5) * elements);
        t.same(seat.run({ seed: 42, step: 9, firstSlot })[1], slice, `${elements} a sample, from slot ${firstSlot}`);
      }
    }
  }
});

t.test("normal numbers have the moments of their distribution", async (t) => {
  const [numbers = new Float32Array()] = captureOver(backend, [], () => [keyedNormal([1000, 100])]).run();
  const mean = numbers.reduce((sum, x) => sum + x, 0) / numbers.length;
  const variance = numbers.reduce((sum, x) => sum + (x - mean) ** 2, 0) / numbers.length;
  t.ok(Math.abs(mean) < 0.015 && Math.abs(variance - 1) < 0.02, `mean ${mean}, variance ${variance}`);
});
