export { BackendError, type BackendErrorCode } from "./backend-error.ts";
export { type NumericsFingerprint, numericsFingerprint } from "./fingerprint.ts";
export { sparseSoftmaxCrossEntropy } from "./kernels/faster-kernels.ts";
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
