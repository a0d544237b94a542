import t from "tap";
import { type ImageShape, imageDataset, type LabelledImages } from "../src/index.ts";

function part(labels: readonly number[], imageBytes = 4, images = labels.length): LabelledImages {
  const shared = new Uint8Array(new SharedArrayBuffer(images * imageBytes)).map((_, i) => 7 * i);
  const pixels = new Uint8Array(new SharedArrayBuffer(shared.length));
  pixels.set(shared);
  const wide = new Int32Array(new SharedArrayBuffer(4 * labels.length));
  wide.set(labels);
  return { images: pixels, labels: wide };
}

const imageShape: ImageShape = [2, 2, 1];
const sound = { name: "tiny", imageShape, classNames: ["a", "b", "c"], train: part([0, 1, 2, 1]), test: part([2, 0]) };

t.test("a dataset keeps what it was given and counts it", async (t) => {
  const dataset = imageDataset(sound);
  t.equal(dataset.train.count, 4);
  t.equal(dataset.test.count, 2);
  t.equal(dataset.train.images, sound.train.images, "not a copy");
  t.same([...dataset.test.labels], [2, 0]);
});

t.test("a label outside the classes is refused with its index, itself and the number of classes", async (t) => {
  for (const [labels, index, label] of [
    [[0, 1, 3, 4], 2, 3],
    [[-1, 1], 0, -1],
  ] as const) {
    const message = new RegExp(`\\[0, 3\\) \\(3 classes\\) in tiny, train, found label ${label} at index ${index}`);
    t.throws(() => imageDataset({ ...sound, train: part(labels) }), { code: "LABEL_OUT_OF_RANGE", message });
  }
  t.throws(() => imageDataset({ ...sound, test: part([3]) }), { code: "LABEL_OUT_OF_RANGE", message: /tiny, test/ });
});

t.test("images and labels that do not pair are refused with both counts", async (t) => {
  const message = /tiny, test, found 2 labels and 3 images/;
  t.throws(() => imageDataset({ ...sound, test: part([2, 0], 4, 3) }), { code: "COUNT_MISMATCH", message });
});

t.test("no classes and no pixels are refused", async (t) => {
  t.throws(() => imageDataset({ ...sound, classNames: [] }), { code: "BAD_ARGUMENT" });
  t.throws(() => imageDataset({ ...sound, imageShape: [2, 0, 1] }), { code: "BAD_ARGUMENT" });
});

t.test("the content hash is that of the content, whatever its name", async (t) => {
  const { contentHash } = imageDataset(sound);
  t.match(contentHash, /^[0-9a-f]{64}$/);
  t.equal(imageDataset({ ...sound, name: "other", train: part([0, 1, 2, 1]) }).contentHash, contentHash);
});

t.test("the content hash sees shape, names, images, labels, and what is train and what is test", async (t) => {
  const pixel = part([0, 1, 2, 1]);
  pixel.images[15] = 1;
  const changed = [
    { ...sound, imageShape: [1, 4, 1] as const },
    { ...sound, classNames: ["a", "b", "d"] },
    { ...sound, classNames: ["a", "b", "c", "d"] },
    { ...sound, train: part([0, 1, 2, 2]) },
    { ...sound, train: pixel },
    { ...sound, test: part([2, 1]) },
    { ...sound, train: sound.test, test: sound.train },
  ];
  const hashes = [sound, ...changed].map((parts) => imageDataset(parts).contentHash);
  t.equal(new Set(hashes).size, hashes.length);
});
