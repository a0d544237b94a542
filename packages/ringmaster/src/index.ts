/** The public API: what a config file imports. */
export { keyedNormal, keyedUniform, tf } from "@ringmaster/backend";
export {
  type DataSource,
  fashionMnist,
  type ImageDataset,
  imageDataset,
  mnist,
  syntheticImages,
} from "@ringmaster/data";
export {
  adam,
  defineTraining,
  dropout,
  type FunctionModel,
  functionModel,
  type ModelInput,
  sgd,
  type TrainingOptions,
} from "@ringmaster/training";
