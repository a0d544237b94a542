import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

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
  mkdirSync(folder, { recursive: true });
  for (const [part, count, cut] of [
    ["train", train, truncatedBy],
    ["t10k", test, 0],
  ] as const) {
    const images = idx([count, 8, 8], (index) => (20 * label(Math.floor(index / 64)) + index) % 256);
    writeFileSync(join(folder, `${part}-images-idx3-ubyte`), images.subarray(0, images.length - cut));
    writeFileSync(join(folder, `${part}-labels-idx1-ubyte`), idx([count], label));
  }
  return folder;
}

function idx(dims: readonly number[], valueAt: (index: number) => number): Buffer {
  const header = Buffer.alloc(4 + 4 * dims.length);
  header.set([0, 0, 8, dims.length]);
  for (const [axis, extent] of dims.entries()) header.writeUInt32BE(extent, 4 + 4 * axis);
  const count = dims.reduce((product, extent) => product * extent, 1);
  return Buffer.concat([header, Buffer.from(Array.from({ length: count }, (_, index) => valueAt(index)))]);
}
