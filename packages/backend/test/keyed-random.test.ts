import t from "tap";
import { keyedNormal, keyedUniform, openBackend } from "../src/index.ts";
import { captureOver } from "./fixtures/captured-function.ts";

const backend = await openBackend({ backend: "tensorflow", device: "cpu" });
const batch = 24;
const perSample = [1, 3, 4, 7, 300];
const shapeOf = (samples: number, elements: number) => (elements === 1 ? [samples] : [samples, elements]);
const key = { seed: 42, step: 1200, firstSlot: 0 };
const bits = (numbers: Float32Array | undefined) =>
  Buffer.from((numbers ?? new Float32Array()).slice().buffer).toString("hex");

/** A captured function that draws once for each shape. */
const drawing = (keyed: typeof keyedUniform, ...shapes: number[][]) =>
  captureOver(backend, [], () => shapes.map((shape) => keyed(shape)));

for (const [name, keyed] of Object.entries({ keyedUniform, keyedNormal })) {
  t.test(`${name}: a seat's numbers are its slice of the whole batch's`, async (t) => {
    for (const elements of perSample) {
      const whole = drawing(keyed, shapeOf(batch, elements)).run(key)[0];
      for (const samples of [1, 5]) {
        const seat = drawing(keyed, shapeOf(samples, elements));
        for (const firstSlot of [0, 1, 2, 3, 7, 10, 19]) {
          const slice = whole?.slice(firstSlot * elements, (firstSlot + samples) * elements);
          const found = seat.run({ ...key, firstSlot })[0];
          t.equal(bits(found), bits(slice), `${elements} a sample, slots ${firstSlot} .. ${firstSlot + samples}`);
        }
      }
    }
  });

  t.test(`${name}: two draws of one model are sliced alike, whatever their shapes`, async (t) => {
    const whole = drawing(keyed, [batch, 3], [batch, 2, 2], [batch, 7]).run(key);
    const seat = drawing(keyed, [6, 3], [6, 2, 2], [6, 7]).run({ ...key, firstSlot: 13 });
    [3, 4, 7].forEach((elements, draw) => {
      t.equal(bits(seat[draw]), bits(whole[draw]?.slice(13 * elements, 19 * elements)), `draw ${draw}`);
    });
  });

  t.test(`${name}: the same key gives the same bits, another draw, step or seed others`, async (t) => {
    const drawn = drawing(keyed, [batch, 7], [batch, 7]);
    const again = drawing(keyed, [batch, 7], [batch, 7]);
    const keys = [
      key,
      { ...key, step: 1201 },
      { ...key, step: 0 },
      { ...key, seed: 43 },
      { ...key, seed: 2 ** 32 - 1 },
      { ...key, seed: 1200, step: 42 },
    ];
    const seen = keys.flatMap((each) => drawn.run(each).map(bits));
    t.equal(new Set(seen).size, 2 * keys.length, "all differ");
    t.same(
      keys.flatMap((each) => again.run(each).map(bits)),
      seen,
    );
    const slots = Array.from({ length: batch }, (_, slot) => bits(drawn.run(key)[0]?.slice(7 * slot, 7 * slot + 7)));
    t.equal(new Set(slots).size, batch, "slots differ");
  });
}

const moments = (numbers: Float32Array) => {
  const mean = numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
  return { mean, variance: numbers.reduce((sum, value) => sum + (value - mean) ** 2, 0) / numbers.length };
};

t.test("uniform numbers lie in [0, 1) and are spread evenly", async (t) => {
  const numbers = drawing(keyedUniform, [300, 301]).run(key)[0] ?? new Float32Array();
  t.equal(numbers.length, 90_300);
  t.ok(numbers.every((value) => value >= 0 && value < 1));
  const { mean, variance } = moments(numbers);
  t.ok(Math.abs(mean - 1 / 2) < 0.005, `mean ${mean}`);
  t.ok(Math.abs(variance - 1 / 12) < 0.002, `variance ${variance}`);
  const tenths = new Array<number>(10).fill(0);
  for (const value of numbers) tenths[Math.floor(value * 10)] = (tenths[Math.floor(value * 10)] ?? 0) + 1;
  t.ok(
    tenths.every((count) => Math.abs(count - 9030) < 400),
    `${tenths}`,
  );
});

t.test("normal numbers have mean 0 and variance 1", async (t) => {
  const numbers = drawing(keyedNormal, [300, 301]).run(key)[0] ?? new Float32Array();
  const { mean, variance } = moments(numbers);
  t.ok(Math.abs(mean) < 0.015, `mean ${mean}`);
  t.ok(Math.abs(variance - 1) < 0.03, `variance ${variance}`);
});

t.test("keyed numbers outside of a captured step are refused", async (t) => {
  t.throws(() => keyedUniform([2]), { name: "BackendError", code: "RANDOM_IN_STEP" });
  t.throws(() => keyedNormal([2]), { name: "BackendError", code: "RANDOM_IN_STEP" });
});
