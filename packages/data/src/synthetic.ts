/**
 * Images that can be learnt and cost no download, for benchmarks and tests.
 *
 * A class is a coarse pattern of 4 x 4 cells a channel. An example is its class's pattern, moved by up to an eighth of the picture (round
 * the edges), under noise more than twice as strong. Integers only, all from hashes of (seed, what, where): the same bytes everywhere.
 */
import { type DataSource, type ImageShape, imageDataset, type LabelledImages } from "./dataset.ts";
import { requireInteger } from "./integer.ts";
import { absorb, absorbInteger, finish } from "./mix.ts";

export interface SyntheticOptions {
  readonly imageShape: ImageShape;
  readonly classes: number;
  /** Number of train examples. Classes take turns, so each has as many, give or take one. */
  readonly train: number;
  /** Number of test examples, likewise. */
  readonly test: number;
  readonly seed: number;
}

const GRID = 4;
const PART = { pattern: 0, train: 1, test: 2 } as const;
const MOST_BYTES = 2 ** 31;

/**
 * @throws DataError BAD_ARGUMENT
 */
export function syntheticImages(options: SyntheticOptions): DataSource {
  const { imageShape, classes, train, test, seed } = options;
  const imageBytes = imageShape.reduce((product, extent) => product * extent, 1);
  for (const extent of imageShape) requireInteger("each of height, width and channels of synthetic images", extent, 1);
  requireInteger("the number of classes of synthetic images", classes, 1, Math.floor(MOST_BYTES / imageBytes));
  requireInteger("the number of synthetic train images", train, 0, Math.floor(MOST_BYTES / imageBytes));
  requireInteger("the number of synthetic test images", test, 0, Math.floor(MOST_BYTES / imageBytes));
  requireInteger("the seed of synthetic images", seed, Number.MIN_SAFE_INTEGER);
  return {
    kind: "synthetic",
    describe: `synthetic images of ${imageShape.join(" x ")} in ${classes} classes (patterns under noise, for benchmarks and tests; seed ${seed})`,
    async load() {
      const seeded = absorbInteger(0, seed);
      const patterns = Array.from({ length: classes }, (_, label) => patternOf(seeded, label, imageShape));
      return imageDataset({
        name: "synthetic",
        imageShape,
        classNames: patterns.map((_, label) => `class ${label}`),
        train: drawExamples(absorb(seeded, PART.train), train, patterns, imageShape),
        test: drawExamples(absorb(seeded, PART.test), test, patterns, imageShape),
      });
    },
  };
}

function patternOf(seeded: number, label: number, [height, width, channels]: ImageShape): Uint8Array {
  const state = absorb(absorb(seeded, PART.pattern), label);
  const pattern = new Uint8Array(height * width * channels);
  for (let at = 0; at < pattern.length; at++) {
    const channel = at % channels;
    const x = Math.floor(at / channels) % width;
    const y = Math.floor(at / channels / width);
    const cell = Math.floor((y * GRID) / height) * GRID + Math.floor((x * GRID) / width);
    pattern[at] = finish(absorb(absorb(state, channel), cell), 0) & 0xff;
  }
  return pattern;
}

function drawExamples(
  state: number,
  count: number,
  patterns: readonly Uint8Array[],
  shape: ImageShape,
): LabelledImages {
  const imageBytes = shape[0] * shape[1] * shape[2];
  const images = new Uint8Array(new SharedArrayBuffer(count * imageBytes));
  const labels = new Int32Array(new SharedArrayBuffer(4 * count));
  for (let i = 0; i < count; i++) {
    const label = i % patterns.length;
    labels[i] = label;
    const into = images.subarray(i * imageBytes, (i + 1) * imageBytes);
    drawExample(absorb(state, i), patterns[label] as Uint8Array, into, shape);
  }
  return { images, labels };
}

function drawExample(
  state: number,
  pattern: Uint8Array,
  into: Uint8Array,
  [height, width, channels]: ImageShape,
): void {
  const place = finish(state, 0);
  const down = (place & 0xffff) % (Math.floor(height / 8) + 1);
  const right = (place >>> 16) % (Math.floor(width / 8) + 1);
  let at = 0;
  let noise = 0;
  for (let y = 0; y < height; y++) {
    const row = ((y + down) % height) * width;
    for (let x = 0; x < width; x++) {
      const from = (row + ((x + right) % width)) * channels;
      for (let channel = 0; channel < channels; channel++, at++) {
        // A hash has noise for four pixels.
        noise = (at & 3) === 0 ? finish(absorb(state, at), 0) : noise >>> 8;
        into[at] = (5 * (pattern[from + channel] as number) + 11 * (noise & 0xff)) >> 4;
      }
    }
  }
}
