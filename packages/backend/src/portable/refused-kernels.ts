/**
 * Kernels of tfjs's wasm backend (4.22) that compute something else than their name says, found against libtensorflow: conv3d's gradients, maxPool3d with padding, the
 * gradient of avgPool3d with padding, dilation2d. Whoever trained with them would not know.
 */
import { BackendError } from "../backend-error.ts";
import type { Register } from "./kernel-registry.ts";

const wrong = ["Conv3D", "MaxPool3D", "AvgPool3D", "Dilation2D"];

export function refuseKernels(register: Register): void {
  for (const name of wrong) {
    register(name, () => () => {
      const found = `found ${name}, whose WebAssembly kernels in tfjs are wrong`;
      const advice =
        'compute it from other ops, or train with --backend tensorflow ("npx ringmaster setup" fetches it)';
      throw new BackendError(
        "MODEL_UNSUPPORTED",
        `expected ops that the portable backend computes rightly, ${found}; ${advice}`,
      );
    });
  }
}
