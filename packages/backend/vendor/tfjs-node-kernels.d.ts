export { NodeJSKernelBackend } from "@tensorflow/tfjs-node-gpu/dist/nodejs_kernel_backend.js";
export type { TFJSBinding } from "@tensorflow/tfjs-node-gpu/dist/tfjs_binding.js";
