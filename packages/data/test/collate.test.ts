import t from "tap";
import { collate, type ImageShape, pixelTable, syntheticImages } from "../src/index.ts";

for (const imageShape of [
  [5, 3, 1],
  [4, 3, 3],
  [2, 2, 2],
] as const satisfies readonly ImageShape[]) {
  t.test(`a batch of ${imageShape.join(" x ")} holds the named examples, normalised, in order`, async (t) => {
    const { train: examples } = await syntheticImages({ imageShape, classes: 3, train: 20, test: 1, seed: 5 }).load();
    const channels = imageShape[2];
    const size = imageShape[0] * imageShape[1] * channels;
    const mean = [0.1, 0.2, 0.3].slice(0, channels);
    const std = [0.5, 0.25, 2].slice(0, channels);
    const ids = Uint32Array.of(7, 0, 19, 7);
    const images = new Float32Array(ids.length * size);
    const labels = new Int32Array(ids.length);
    collate({ examples, imageShape, ids, table: pixelTable({ mean, std }), images, labels });

    const expected = [...ids].flatMap((id) =>
      Array.from(examples.images.subarray(id * size, (id + 1) * size), (pixel, i) =>
        Math.fround((pixel / 255 - (mean[i % channels] ?? 0)) / (std[i % channels] ?? 0)),
      ),
    );
    t.same([...images], expected);
    t.same(
      [...labels],
      [...ids].map((id) => examples.labels[id]),
    );
  });
}

t.test("a shorter batch leaves the rest of a longer buffer as it was", async (t) => {
  const imageShape = [2, 2, 1] as const;
  const { train: examples } = await syntheticImages({ imageShape, classes: 2, train: 4, test: 1, seed: 5 }).load();
  const images = new Float32Array(12).fill(9);
  const labels = new Int32Array(3).fill(9);
  const table = pixelTable({ mean: [0], std: [1] });
  collate({ examples, imageShape, ids: Uint32Array.of(1), table, images, labels });
  t.same([...images.subarray(4)], Array(8).fill(9));
  t.same([...labels], [1, 9, 9]);
  collate({ examples, imageShape, ids: Uint32Array.of(), table, images, labels });
  t.same([...labels], [1, 9, 9], "an empty one changes nothing");
});

t.test("what does not fit is refused", async (t) => {
  const imageShape = [2, 2, 1] as const;
  const { train: examples } = await syntheticImages({ imageShape, classes: 2, train: 4, test: 1, seed: 5 }).load();
  const sound = {
    examples,
    imageShape,
    ids: Uint32Array.of(1, 2),
    table: new Float32Array(256),
    images: new Float32Array(8),
    labels: new Int32Array(2),
  };
  t.throws(() => collate({ ...sound, ids: Uint32Array.of(1, 4) }), {
    code: "ID_OUT_OF_RANGE",
    message: /below 4 .*found 4/,
  });
  for (const change of [
    { imageShape: [2, 2, 3] as const },
    { table: new Float32Array(768) },
    { images: new Float32Array(7) },
    { labels: new Int32Array(1) },
  ]) {
    t.throws(() => collate({ ...sound, ...change }), { code: "SHAPE_MISMATCH" });
  }
});
