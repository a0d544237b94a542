export { blocks } from "./blocks.ts";
export { type CollateOptions, collate } from "./collate.ts";
export { DataError, type DataErrorCode } from "./data-error.ts";
export {
  type DataSource,
  type Examples,
  type ImageDataset,
  type ImageShape,
  imageDataset,
  type LabelledImages,
} from "./dataset.ts";
export { fashionMnist } from "./fashion-mnist.ts";
export { type Idx, readIdx } from "./idx.ts";
export { readImage } from "./image-file.ts";
export { mnist } from "./mnist.ts";
export { measureNormalisation, type Normalisation, pixelTable } from "./normalise.ts";
export { permutation } from "./permutation.ts";
export { expectedReceipt, MOST_BATCH_SAMPLES, type Receipt, receiptLimbs } from "./receipt.ts";
export { createSampler, type Sampler, type SamplerOptions, type Span, type StepPosition } from "./sampler.ts";
export { splitTrain, type TrainSplit } from "./split.ts";
export { type SyntheticOptions, syntheticImages } from "./synthetic.ts";
