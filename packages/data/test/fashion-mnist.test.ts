import { existsSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { findFashionMnist } from "../src/fashion-mnist.ts";
import { fashionMnist, measureNormalisation } from "../src/index.ts";

const installed = existsSync("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz");
const skip = installed ? false : "NOT TESTED, Fashion-MNIST is not here: apt-get install -y dataset-fashion-mnist";

t.test("Fashion-MNIST comes out of the Debian package whole", { skip }, async (t) => {
  const dataset = await fashionMnist().load();
  t.same(dataset.imageShape, [28, 28, 1]);
  t.equal(dataset.train.count, 60_000);
  t.equal(dataset.test.count, 10_000);
  const named = (labels: Int32Array) => [...labels.subarray(0, 5)].map((label) => dataset.classNames[label]);
  t.same(named(dataset.train.labels), ["Ankle boot", "T-shirt/top", "T-shirt/top", "Dress", "T-shirt/top"]);
  t.same(named(dataset.test.labels), ["Ankle boot", "Pullover", "Trouser", "Trouser", "Shirt"]);
  t.equal(dataset.contentHash, "c86487b85a4cda882205fd2ff42b7647f8a1897974319f923ce861d44b9fe3cb");

  // As its users normalise it: transforms.Normalize((0.2860,), (0.3530,)).
  const { mean, std } = measureNormalisation(
    dataset.train,
    Uint32Array.from({ length: 60_000 }, (_, i) => i),
    1,
  );
  t.same([mean[0]?.toFixed(4), std[0]?.toFixed(4)], ["0.2860", "0.3530"]);
});

t.test("its absence says what to install; a named folder without it names the file", async (t) => {
  const folder = join(t.testdir({}), "absent");
  const message = /apt-get install dataset-fashion-mnist.*or name a folder/;
  t.throws(() => findFashionMnist(folder), { code: "DATASET_MISSING", message });
  await t.rejects(fashionMnist({ folder }).load(), { code: "FILE_MISSING", message: /train-images-idx3-ubyte/ });
});

t.test("there are ten classes, and describing the source reads nothing", async (t) => {
  t.match(fashionMnist({ folder: "not/there" }), { kind: "fashion-mnist", describe: "Fashion-MNIST from not/there" });
});
