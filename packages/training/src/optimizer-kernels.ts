import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { TrainingError } from "./training-error.ts";

/**
 * Optimizer steps over one shared memory (source: `kernels/optimizers.ts`).
 *
 * Pointers are byte offsets into it, multiples of 4; n counts floats, any number >= 0. Scalars are rounded to float32 on the way in.
 * A range that leaves the memory throws WebAssembly's own `RuntimeError`.
 */
export interface OptimizerKernels {
  adam(
    parameters: number,
    gradients: number,
    expAvg: number,
    expAvgSq: number,
    n: number,
    scale: number,
    weightDecay: number,
    oneMinusBeta1: number,
    beta2: number,
    oneMinusBeta2: number,
    stepSize: number,
    correction2: number,
    epsilon: number,
  ): void;
  sgd(parameters: number, gradients: number, n: number, scale: number, weightDecay: number, learningRate: number): void;
  sgdMomentum(
    parameters: number,
    gradients: number,
    momentumBuffer: number,
    n: number,
    scale: number,
    weightDecay: number,
    learningRate: number,
    momentum: number,
    nesterov: boolean,
  ): void;
  /** Whether the n floats at `values` are all finite. */
  allFinite(values: number, n: number): boolean;
}

/** Compiled once a thread; a memory then only costs an instance. */
let compiled: WebAssembly.Module | undefined;

/**
 * Compiles the optimizer kernels, synchronously, over `memory`. Instances in several threads may share one memory.
 *
 * @param memory a `WebAssembly.Memory` made with `shared: true`. Nothing is read or written here.
 * @throws TrainingError `MEMORY_NOT_SHARED`; `KERNELS_MISSING` if the package has not been built; `KERNELS_MISMATCH` if what was built is
 * of another version.
 */
export function loadOptimizerKernels(memory: WebAssembly.Memory): OptimizerKernels {
  if (!(memory.buffer instanceof SharedArrayBuffer)) {
    throw new TrainingError(
      "MEMORY_NOT_SHARED",
      "loadOptimizerKernels: expected a shared memory, found a private one: make it with new WebAssembly.Memory({ ..., shared: true })",
    );
  }
  compiled ??= new WebAssembly.Module(Uint8Array.from(readKernels()));
  const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
  const allFinite = kernel(exports, "allFinite");
  return {
    adam: kernel(exports, "adam"),
    sgd: kernel(exports, "sgd"),
    sgdMomentum: kernel(exports, "sgdMomentum"),
    allFinite: (values, n) => allFinite(values, n) !== 0,
  };
}

function readKernels(): Uint8Array {
  const path = fileURLToPath(new URL("../kernels/optimizers.wasm", import.meta.url));
  if (!existsSync(path)) {
    throw new TrainingError(
      "KERNELS_MISSING",
      `expected the optimizer kernels at ${path}, found no file: run npm run build`,
    );
  }
  return readFileSync(path);
}

function kernel(exports: Readonly<Record<string, unknown>>, name: string): (...scalars: unknown[]) => unknown {
  const found = exports[name];
  if (typeof found !== "function") {
    throw new TrainingError(
      "KERNELS_MISMATCH",
      `expected a function ${name} in optimizers.wasm, found ${typeof found}: it is of another version, run npm run build`,
    );
  }
  return (...scalars) => found(...scalars);
}
