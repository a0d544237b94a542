import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Examples, mnist } from "@ringmaster/data";

export interface IdxFolder {
  readonly train: number;
  readonly test: number;
  /** Label of sample `index`. */
  readonly label: (index: number) => number;
  /** Bytes left out at the end of the training images. */
  readonly truncatedBy?: number;
}

/** MNIST's four files with pictures of 8 x 8, those of one label alike. @returns the folder. */
export function writeIdxFolder(folder: string, { train, test, label, truncatedBy = 0 }: IdxFolder): string {
  const pixel = (index: number) => (20 * label(Math.floor(index / 64)) + index) % 256;
  for (const [part, count, cut] of [
    ["train", train, truncatedBy],
    ["t10k", test, 0],
  ] as const) {
    const images = idx([count, 8, 8], valuesFrom(64 * count, pixel));
    writePart(folder, part, images.subarray(0, images.length - cut), idx([count], valuesFrom(count, label)));
  }
  return folder;
}

/** MNIST's four files with the first samples of each part: a run on them takes its time for training and not for a test set of 10,000. @returns the folder. */
export async function writeMnistFolder(folder: string, count: { train: number; test: number }): Promise<string> {
  const dataset = await mnist().load();
  const [height, width] = dataset.imageShape;
  const write = (part: "train" | "t10k", { images, labels }: Examples, samples: number) =>
    writePart(
      folder,
      part,
      idx([samples, height, width], images.subarray(0, samples * height * width)),
      idx([samples], Uint8Array.from(labels.subarray(0, samples))),
    );
  write("train", dataset.train, count.train);
  write("t10k", dataset.test, count.test);
  return folder;
}

function writePart(folder: string, part: "train" | "t10k", images: Uint8Array, labels: Uint8Array): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${part}-images-idx3-ubyte`), images);
  writeFileSync(join(folder, `${part}-labels-idx1-ubyte`), labels);
}

function idx(dims: readonly number[], values: Uint8Array): Buffer {
  const header = Buffer.alloc(4 + 4 * dims.length);
  header.set([0, 0, 8, dims.length]);
  for (const [axis, extent] of dims.entries()) header.writeUInt32BE(extent, 4 + 4 * axis);
  return Buffer.concat([header, values]);
}

const valuesFrom = (count: number, valueAt: (index: number) => number): Uint8Array =>
  Uint8Array.from({ length: count }, (_, index) => valueAt(index));
