// What bundle.mjs bundles: all kernels, registered as they load, and the backend that runs them.
import "@tensorflow/tfjs-node-gpu/dist/register_all_kernels.js";

export { NodeJSKernelBackend } from "@tensorflow/tfjs-node-gpu/dist/nodejs_kernel_backend.js";
