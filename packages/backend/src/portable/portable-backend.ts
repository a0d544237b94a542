/**
 * The `portable` backend: tfjs's wasm backend, with the kernels that training needs and it lacks or has in JavaScript only. It runs wherever Node does, in one thread,
 * and its results depend on the inputs alone, not on the machine.
 */
import { cpus } from "node:os";
import { version_wasm } from "@tensorflow/tfjs-backend-wasm";
import tf from "#tfjs";
import { BackendError } from "../backend-error.ts";
import type { ComputeBackend } from "../compute-backend.ts";
import { registerGradients } from "../ops/gradients.ts";
import { prepareEagerProgram } from "./eager-program.ts";
import { registerKernels } from "./register-kernels.ts";
import { backendName, openWasmBackend } from "./wasm-backend.ts";

/**
 * Makes the portable backend the backend of tfjs in this thread. Call it once a thread.
 * @throws BackendError SETUP_FAILED where the package was not built.
 */
export async function openPortableBackend(): Promise<ComputeBackend> {
  const heap = await openWasmBackend();
  registerKernels(heap);
  registerGradients();
  await tf.setBackend(backendName);
  await tf.ready();
  return {
    name: "portable",
    device: { kind: "cpu", name: cpus()[0]?.model.trim() || "CPU" },
    version: version_wasm,
    tensorCount: () => tf.memory().numTensors,
    prepare(program) {
      const { precision = "float32", compiler = "grappler" } = program;
      if (precision !== "float32") {
        const advice = "use float32, or a device with libtensorflow";
        throw new BackendError(
          "PRECISION_UNSUPPORTED",
          `expected float32, which is all that the portable backend computes in, found ${precision}; ${advice}`,
        );
      }
      if (compiler !== "grappler") {
        const advice = 'set compiler to "grappler", or train on a device with libtensorflow';
        throw new BackendError(
          "COMPILER_UNSUPPORTED",
          `expected compiler "grappler", the portable backend compiles nothing, found "${compiler}"; ${advice}`,
        );
      }
      return prepareEagerProgram(heap, program);
    },
  };
}
