import fc from "fast-check";
import t from "tap";
import { type Examples, measureNormalisation, pixelTable } from "../src/index.ts";

function examplesOf(pixels: readonly number[], count: number): Examples {
  const images = new Uint8Array(new SharedArrayBuffer(pixels.length));
  images.set(pixels);
  return { images, labels: new Int32Array(new SharedArrayBuffer(4 * count)), count };
}

/** Mean and deviation from exact rationals: the variance's numerator as one big integer. */
function exactly(values: readonly number[]): { mean: number; std: number } {
  const n = BigInt(values.length);
  const sum = values.reduce((total, v) => total + BigInt(v), 0n);
  const squares = values.reduce((total, v) => total + BigInt(v) ** 2n, 0n);
  const std = Math.sqrt(Number(n * squares - sum * sum)) / values.length / 255;
  return { mean: Number(sum) / values.length / 255, std: std === 0 ? 1 : std };
}

t.test("each channel's mean and deviation are those of exact arithmetic, over the named examples only", async () => {
  const shapes = fc.record({
    channels: fc.integer({ min: 1, max: 4 }),
    area: fc.integer({ min: 1, max: 9 }),
    count: fc.integer({ min: 1, max: 12 }),
  });
  const cases = shapes.chain(({ channels, area, count }) =>
    fc.record({
      channels: fc.constant(channels),
      count: fc.constant(count),
      pixels: fc.array(fc.nat(255), { minLength: channels * area * count, maxLength: channels * area * count }),
      ids: fc.subarray(
        Array.from({ length: count }, (_, i) => i),
        { minLength: 1 },
      ),
    }),
  );
  fc.assert(
    fc.property(cases, ({ channels, count, pixels, ids }) => {
      const size = pixels.length / count;
      const { mean, std } = measureNormalisation(examplesOf(pixels, count), Uint32Array.from(ids), channels);
      const chosen = ids.flatMap((id) => pixels.slice(id * size, (id + 1) * size));
      return mean.every((average, channel) => {
        const exact = exactly(chosen.filter((_, i) => i % channels === channel));
        const near = (a: number, b: number) => Math.abs(a - b) <= 1e-12 * Math.max(Math.abs(a), Math.abs(b));
        return near(average, exact.mean) && near(std[channel] ?? Number.NaN, exact.std);
      });
    }),
  );
});

t.test("images of any size are summed exactly", async (t) => {
  for (const size of [2 ** 15, 2 ** 15 + 1, 2 ** 17 + 3]) {
    const pixels = Array<number>(size).fill(255);
    pixels[0] = 0;
    const { mean, std } = measureNormalisation(examplesOf(pixels, 1), Uint32Array.of(0), 1);
    t.equal(mean[0], (255 * (size - 1)) / size / 255);
    t.ok(Math.abs((std[0] ?? 0) / exactly(pixels).std - 1) < 1e-9, `${size} pixels`);
  }
});

t.test("the order of ids does not change a bit", async (t) => {
  const pixels = Array.from({ length: 300 }, (_, i) => (i * i * 7) % 256);
  const forwards = Uint32Array.from({ length: 25 }, (_, i) => i);
  const examples = examplesOf(pixels, 25);
  t.same(measureNormalisation(examples, forwards.toReversed(), 3), measureNormalisation(examples, forwards, 3));
});

t.test("a channel of one value gets the deviation 1, whatever the value and the count", async (t) => {
  for (const value of [0, 1, 77, 255]) {
    for (const count of [1, 3, 7, 49]) {
      const { mean, std } = measureNormalisation(
        examplesOf(Array(count).fill(value), count),
        Uint32Array.of(0, count - 1),
        1,
      );
      t.same({ mean, std }, { mean: [value / 255], std: [1] });
    }
  }
});

t.test("nothing, an id past the end and channels that do not divide an image are refused", async (t) => {
  const examples = examplesOf([1, 2, 3, 4, 5, 6, 7, 8], 2);
  t.throws(() => measureNormalisation(examples, Uint32Array.of(), 1), { code: "NO_SAMPLES" });
  t.throws(() => measureNormalisation(examples, Uint32Array.of(0, 2), 1), {
    code: "ID_OUT_OF_RANGE",
    message: /below 2 .*found 2/,
  });
  t.throws(() => measureNormalisation(examples, Uint32Array.of(0), 3), { code: "SHAPE_MISMATCH" });
});

t.test("the pixel table is the normalisation of every value of every channel, rounded once", async (t) => {
  const table = pixelTable({ mean: [0.5, 0.1], std: [0.25, 2] });
  t.equal(table.length, 512);
  t.equal(table[0], -2);
  t.equal(table[255], 2);
  t.equal(table[256 + 0], Math.fround(-0.05));
  t.equal(table[256 + 51], Math.fround((51 / 255 - 0.1) / 2));
});

t.test("a normalisation that is none is refused", async (t) => {
  for (const wrong of [
    { mean: [0], std: [0] },
    { mean: [0], std: [-1] },
    { mean: [0, 0], std: [1] },
    { mean: [Number.NaN], std: [1] },
    { mean: [0], std: [Number.POSITIVE_INFINITY] },
  ]) {
    t.throws(() => pixelTable(wrong), { code: "BAD_ARGUMENT" });
  }
});
