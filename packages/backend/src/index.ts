export { default as tf } from "#tfjs";
export { BackendError, type BackendErrorCode } from "./backend-error.ts";
export type {
  Compiler,
  ComputeBackend,
  Device,
  Feed,
  Precision,
  PreparedProgram,
  Program,
  ProgramCall,
  RandomKey,
} from "./compute-backend.ts";
export { type CpuFeature, cpuFeatures, hasFloat16 } from "./cpu-features.ts";
export { type NumericsFingerprint, numericsFingerprint } from "./fingerprint.ts";
export { isInProgram, keyedNormal, keyedUniform } from "./keyed-random.ts";
export {
  type DeviceFacts,
  type DeviceJudgement,
  describeGpu,
  findMachineObstacle,
  judgeDevice,
  type Obstacle,
  readDeviceFacts,
} from "./libtensorflow/choose-device.ts";
export type { CudaAnswer, Gpu } from "./libtensorflow/cuda-driver.ts";
export { type DevicePreference, parseDevice } from "./libtensorflow/device-preference.ts";
export { type DevicesOfRanks, devicesOfRanks } from "./libtensorflow/devices-of-ranks.ts";
export type { GpuFacts } from "./libtensorflow/gpu-facts.ts";
export { type InstallOptions, installLibtensorflow } from "./libtensorflow/install.ts";
export { cacheFolder, findLibtensorflow, type LibtensorflowState } from "./libtensorflow/location.ts";
export { type LibtensorflowBuild, libtensorflowVersion } from "./libtensorflow/wheels.ts";
export {
  type BackendOptions,
  type BackendPreference,
  loadBackend,
  openBackend,
  type SettledBackend,
  settleBackend,
} from "./open-backend.ts";
export { batchNormInTraining, type NormalisedBatch } from "./ops/batch-norm.ts";
export { sparseSoftmaxCrossEntropy } from "./ops/cross-entropy.ts";
export { failedBody } from "./ops/failed-body.ts";
