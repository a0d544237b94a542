import { registerBatchNorm } from "./batch-norm.ts";
import { borrowKernels } from "./borrowed-kernels.ts";
import { registerConvolutions } from "./convolutions.ts";
import { registerDepthwiseConvolutions } from "./depthwise-convolutions.ts";
import { registerEinsum } from "./einsum.ts";
import { registerElementwise } from "./elementwise.ts";
import { registry } from "./kernel-registry.ts";
import { registerMatrixProducts } from "./matrix-products.ts";
import { registerPooling } from "./pooling.ts";
import { registerReductions } from "./reductions.ts";
import { refuseKernels } from "./refused-kernels.ts";
import type { WasmHeap } from "./wasm-backend.ts";
import { registerPadding } from "./windows.ts";

export function registerKernels(heap: WasmHeap): void {
  const register = registry(heap);
  registerPadding(register);
  registerMatrixProducts(heap, register);
  registerConvolutions(heap, register);
  registerDepthwiseConvolutions(heap, register);
  registerPooling(heap, register);
  registerBatchNorm(heap, register);
  registerElementwise(heap, register);
  registerEinsum(register);
  registerReductions(heap, register);
  borrowKernels(heap, register);
  refuseKernels(register);
}
