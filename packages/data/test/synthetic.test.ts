import t from "tap";
import { type Examples, syntheticImages } from "../src/index.ts";

const options = { imageShape: [12, 10, 3], classes: 7, train: 700, test: 210, seed: 11 } as const;

t.test("synthetic images are the same bytes every time and for ever, and others under another seed", async (t) => {
  const [one, again, other] = await Promise.all(
    [11, 11, 12].map((seed) => syntheticImages({ ...options, seed }).load()),
  );
  t.equal(one?.contentHash, again?.contentHash);
  t.not(one?.contentHash, other?.contentHash);
  // From an independent implementation in Python.
  t.equal(one?.contentHash, "f809e2416f934acfd24acc3199785466c3f6b96fbb99c74ea96f51606c50b045");
});

t.test("classes take turns and train is not test", async (t) => {
  const { train, test, classNames, imageShape } = await syntheticImages(options).load();
  t.same(imageShape, [12, 10, 3]);
  t.equal(classNames.length, 7);
  t.same([...train.labels.subarray(0, 9)], [0, 1, 2, 3, 4, 5, 6, 0, 1]);
  t.equal(test.count, 210);
  t.notOk(Buffer.from(train.images.subarray(0, 360)).equals(test.images.subarray(0, 360)));
});

t.test(
  "synthetic images can be learnt: the nearest class mean of train names most of test, raw noise would not",
  async (t) => {
    const { train, test, classNames } = await syntheticImages(options).load();
    const size = train.images.length / train.count;
    const means = classNames.map(() => new Float64Array(size));
    each(train, size, (pixels, label) => {
      const mean = means[label];
      if (mean !== undefined)
        pixels.forEach((pixel, i) => {
          mean[i] = (mean[i] ?? 0) + pixel / (train.count / classNames.length);
        });
    });
    let right = 0;
    each(test, size, (pixels, label) => {
      const distances = means.map((mean) => mean.reduce((sum, m, i) => sum + (m - (pixels[i] ?? 0)) ** 2, 0));
      if (distances.indexOf(Math.min(...distances)) === label) right++;
    });
    t.ok(right > 0.9 * test.count, `${right} of ${test.count}`);
  },
);

t.test("the source says what its images are", async (t) => {
  t.match(syntheticImages(options), {
    kind: "synthetic",
    describe: /synthetic .*12 x 10 x 3 in 7 classes .*for benchmarks and tests/,
  });
});

t.test("what cannot be drawn is refused before it is loaded", async (t) => {
  for (const change of [
    { classes: 0 },
    { train: -1 },
    { test: 0.5 },
    { train: 2 ** 31 },
    { imageShape: [0, 1, 1] as const },
    { seed: Number.NaN },
  ]) {
    t.throws(() => syntheticImages({ ...options, ...change }), { code: "BAD_ARGUMENT" });
  }
});

function each(
  { images, labels, count }: Examples,
  size: number,
  visit: (pixels: Uint8Array, label: number) => void,
): void {
  for (let i = 0; i < count; i++) visit(images.subarray(i * size, (i + 1) * size), labels[i] ?? -1);
}
