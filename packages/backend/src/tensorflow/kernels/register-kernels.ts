/**
 * Kernels that tfjs-node composes from several ops where TensorFlow has one. Each gives what tfjs's own gives
 * (`test/faster-kernels.test.ts` holds them against tfjs's CPU backend).
 */
import { registerBatchNorm } from "./batch-norm.ts";
import { registerBias } from "./bias.ts";
import { registerCrossEntropy } from "./cross-entropy.ts";
import { kernelReplacer } from "./kernel-registry.ts";
import { registerMatMul } from "./mat-mul.ts";
import { registerRelu } from "./relu.ts";

/** Replaces kernels of the `tensorflow` backend; call once after tfjs-node's own are registered. */
export function registerKernels(backendName: string, device: "cpu" | "gpu"): void {
  const replace = kernelReplacer(backendName);
  registerRelu(replace);
  registerMatMul(replace);
  registerBias(replace);
  registerCrossEntropy(replace, device);
  registerBatchNorm(replace);
}
