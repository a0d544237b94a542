export { BackendError, type BackendErrorCode } from "./backend-error.ts";
export { type CpuFeature, cpuFeatures } from "./cpu-features.ts";
export { type NumericsFingerprint, numericsFingerprint } from "./fingerprint.ts";
export { batchNormInTraining, type NormalisedBatch } from "./kernels/batch-norm.ts";
export { sparseSoftmaxCrossEntropy } from "./kernels/cross-entropy.ts";
export type { Precision } from "./libtensorflow/config-proto.ts";
export { type InstallOptions, installLibtensorflow } from "./libtensorflow/install.ts";
export {
  findLibtensorflow,
  type LibtensorflowState,
  libtensorflowWheel,
  requireLibtensorflow,
} from "./libtensorflow/location.ts";
export {
  type CallOptions,
  type CapturedStep,
  type Device,
  type DevicePreference,
  isCapturing,
  keyedNormal,
  keyedUniform,
  loadLibtensorflow,
  openTensorflowBackend,
  type StepCapture,
  type TensorflowBackend,
} from "./tensorflow-backend.ts";
