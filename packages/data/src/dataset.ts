import { createHash } from "node:crypto";
import { DataError } from "./data-error.ts";
import { requireInteger } from "./integer.ts";

/** Height, width, channels. */
export type ImageShape = readonly [height: number, width: number, channels: number];

/** Labelled images in memory that every thread shares. Nobody writes to them after loading. */
export interface Examples {
  readonly images: Uint8Array<SharedArrayBuffer>; // [count, height, width, channels]
  readonly labels: Int32Array<SharedArrayBuffer>; // [count], each in [0, classes)
  readonly count: number;
}

/** A classification dataset, checked: every label names a class, and there is a label to every image. */
export interface ImageDataset {
  readonly name: string;
  readonly imageShape: ImageShape;
  readonly classNames: readonly string[];
  readonly train: Examples;
  readonly test: Examples;
  /** sha256 in hex over shape, class names, and the images and labels of both parts: equal hashes mean equal data, whatever its source. */
  readonly contentHash: string;
}

/** What a configuration holds: where data comes from, not yet the data. */
export interface DataSource {
  /** A stable word, such as `mnist`. */
  readonly kind: string;
  /** For a log line: which data, from where. Costs no I/O. */
  readonly describe: string;
  /** Reads, checks and hashes. Every call reads anew. */
  load(): Promise<ImageDataset>;
}

/** One part of a dataset before it is checked. The arrays are kept, not copied. */
export interface LabelledImages {
  readonly images: Uint8Array<SharedArrayBuffer>; // [count, height, width, channels]
  readonly labels: Int32Array<SharedArrayBuffer>; // [count]
}

/**
 * Checks and hashes what a source has read.
 *
 * @throws DataError COUNT_MISMATCH, LABEL_OUT_OF_RANGE, BAD_ARGUMENT
 */
export function imageDataset(parts: {
  readonly name: string;
  readonly imageShape: ImageShape;
  readonly classNames: readonly string[];
  readonly train: LabelledImages;
  readonly test: LabelledImages;
}): ImageDataset {
  const { name, imageShape, classNames } = parts;
  for (const extent of imageShape) requireInteger(`each of height, width and channels of ${name}`, extent, 1);
  requireInteger(`the number of classes of ${name}`, classNames.length, 1);
  const train = examplesOf(`${name}, train`, imageShape, classNames.length, parts.train);
  const test = examplesOf(`${name}, test`, imageShape, classNames.length, parts.test);
  return { name, imageShape, classNames, train, test, contentHash: hashContent(imageShape, classNames, train, test) };
}

function examplesOf(where: string, shape: ImageShape, classes: number, { images, labels }: LabelledImages): Examples {
  const imageBytes = shape[0] * shape[1] * shape[2];
  const count = labels.length;
  if (images.length !== count * imageBytes) {
    const found = `${count} labels and ${images.length / imageBytes} images of ${shape.join(" x ")}`;
    throw new DataError(
      "COUNT_MISMATCH",
      `expected as many labels as images in ${where}, found ${found}: take both from one release`,
    );
  }
  const wrong = labels.findIndex((label) => label < 0 || label >= classes);
  if (wrong >= 0) {
    const found = `label ${labels[wrong]} at index ${wrong}`;
    throw new DataError(
      "LABEL_OUT_OF_RANGE",
      `expected labels in [0, ${classes}) (${classes} classes) in ${where}, found ${found}`,
    );
  }
  return { images, labels, count };
}

function hashContent(imageShape: ImageShape, classNames: readonly string[], train: Examples, test: Examples): string {
  // The counts stand in the header, so no two datasets can share their bytes by cutting them elsewhere. Labels go in as they lie in
  // memory, little-endian: all machines that Node runs this on are.
  const header = JSON.stringify({ imageShape, classNames, train: train.count, test: test.count });
  const hash = createHash("sha256").update(header);
  for (const { images, labels } of [train, test]) hash.update(images).update(labels);
  return hash.digest("hex");
}
