/** A dataset as MNIST laid it down: four IDX files under four names, each plain or gzipped, in one folder. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { DataError } from "./data-error.ts";
import { type ImageDataset, type ImageShape, imageDataset, type LabelledImages } from "./dataset.ts";
import { readIdx } from "./idx.ts";

const TRAIN = { images: "train-images-idx3-ubyte", labels: "train-labels-idx1-ubyte" };
const TEST = { images: "t10k-images-idx3-ubyte", labels: "t10k-labels-idx1-ubyte" };

/**
 * Loads the dataset in `folder`.
 *
 * @throws DataError FILE_MISSING, naming the first file that is not there; and what `readIdx` and `imageDataset` throw
 */
export async function loadIdxFolder(of: {
  readonly name: string;
  readonly folder: string;
  readonly classNames: readonly string[];
}): Promise<ImageDataset> {
  const paths = [TRAIN, TEST].map(({ images, labels }) => ({
    images: findFile(of.folder, images),
    labels: findFile(of.folder, labels),
  }));
  const [train, test] = await Promise.all(paths.map(readPart));
  if (train === undefined || test === undefined) throw new TypeError("two parts went in");
  if (train.imageShape.join() !== test.imageShape.join()) {
    const found = `${train.imageShape.join(" x ")} and ${test.imageShape.join(" x ")}`;
    throw new DataError(
      "SHAPE_MISMATCH",
      `expected train and test images of one shape in ${of.folder}, found ${found}`,
    );
  }
  return imageDataset({ name: of.name, imageShape: train.imageShape, classNames: of.classNames, train, test });
}

/** Whether any of the four files is in `folder`. */
export function holdsIdxFiles(folder: string): boolean {
  return [TRAIN.images, TRAIN.labels, TEST.images, TEST.labels].some((name) => existing(folder, name) !== undefined);
}

function existing(folder: string, name: string): string | undefined {
  return [join(folder, name), join(folder, `${name}.gz`)].find((path) => existsSync(path));
}

function findFile(folder: string, name: string): string {
  const path = existing(folder, name);
  if (path !== undefined) return path;
  throw new DataError("FILE_MISSING", `expected ${name} or ${name}.gz in ${folder}, found neither: put the file there`);
}

async function readPart(paths: {
  images: string;
  labels: string;
}): Promise<LabelledImages & { imageShape: ImageShape }> {
  const [images, labels] = await Promise.all([readIdx(paths.images), readIdx(paths.labels)]);
  const [count, height, width, channels = 1] = images.dims;
  if (count === undefined || height === undefined || width === undefined) {
    const found = `[${images.dims.join(", ")}]`;
    throw new DataError("SHAPE_MISMATCH", `expected images [count, height, width] in ${paths.images}, found ${found}`);
  }
  if (labels.dims.length !== 1) {
    const found = `[${labels.dims.join(", ")}]`;
    throw new DataError("SHAPE_MISMATCH", `expected labels [count] in ${paths.labels}, found ${found}`);
  }
  const wide = new Int32Array(new SharedArrayBuffer(4 * labels.data.length));
  wide.set(labels.data);
  return { images: images.data, labels: wide, imageShape: [height, width, channels] };
}
