import {
  blocks,
  createSampler,
  type Examples,
  type ImageDataset,
  measureNormalisation,
  type Normalisation,
  pixelTable,
  type Sampler,
  type Span,
  splitTrain,
} from "@ringmaster/data";

export type EvaluationSplit = "validation" | "test";

/** A dataset as a run uses it: split, normalised and put in order. A pure function of the dataset and the run's config. */
export interface PreparedData {
  readonly dataset: ImageDataset;
  readonly sampler: Sampler;
  readonly normalisation: Normalisation;
  /** Of `pixelTable`: float32 of every pixel value of every channel. */
  readonly table: Float32Array;
  readonly evaluation: Readonly<Record<EvaluationSplit, EvaluationData>>;
}

export interface EvaluationData {
  readonly examples: Examples;
  readonly ids: Uint32Array;
  /** Fixed blocks of `ids`: seat k of S evaluates blocks [k n / S, (k + 1) n / S). */
  readonly blocks: readonly Span[];
}

export interface PrepareOptions {
  readonly seed: number;
  readonly batchSize: number;
  readonly seats: number;
  readonly validation: { readonly count: number; readonly blockSize: number };
  /** A few steps of everything: three batches an epoch, two blocks an evaluation. Default false. */
  readonly fastDevRun?: boolean;
}

const fastDevBatches = 3;
const fastDevBlocks = 2;

/** @throws DataError when the split or the batch does not fit the dataset. */
export function prepareData(dataset: ImageDataset, options: PrepareOptions): PreparedData {
  const { seed, batchSize, seats, validation } = options;
  const split = splitTrain(dataset.train.count, validation.count, seed);
  const few = (ids: Uint32Array, most: number) => (options.fastDevRun ? ids.subarray(0, most) : ids);
  const normalisation = measureNormalisation(dataset.train, split.train, dataset.imageShape[2]);
  const evaluated = fastDevBlocks * validation.blockSize;
  const testIds = few(
    Uint32Array.from({ length: dataset.test.count }, (_, id) => id),
    evaluated,
  );
  const validationIds = few(split.validation, evaluated);
  return {
    dataset,
    sampler: createSampler({ seed, sampleIds: few(split.train, fastDevBatches * batchSize), batchSize, seats }),
    normalisation,
    table: pixelTable(normalisation),
    evaluation: {
      validation: {
        examples: dataset.train,
        ids: validationIds,
        blocks: blocks(validationIds.length, validation.blockSize),
      },
      test: { examples: dataset.test, ids: testIds, blocks: blocks(testIds.length, validation.blockSize) },
    },
  };
}

/** Blocks of a split that a seat evaluates. */
export function seatBlocks({ blocks: all }: EvaluationData, seat: number, seats: number): readonly Span[] {
  return all.slice(Math.floor((seat * all.length) / seats), Math.floor(((seat + 1) * all.length) / seats));
}

/** Every number of samples that an evaluation of any split runs on. */
export function blockShapes(data: PreparedData): number[] {
  const all = Object.values(data.evaluation).flatMap(({ blocks: each }) => each.map(({ first, end }) => end - first));
  return [...new Set(all)].sort((a, b) => b - a);
}
