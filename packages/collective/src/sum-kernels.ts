/** Loads the SIMD kernels of kernels/sum.ts over a shared memory. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { CollectiveError } from "./collective-error.ts";

/** Addresses are bytes in the memory, multiples of 4; `floats` is any number, 0 included. Regions are equal or do not overlap. */
export interface SumKernels {
  /** dst += src */
  add(dst: number, src: number, floats: number): void;
  /** out = a + b */
  sum(out: number, a: number, b: number, floats: number): void;
  /** dst = src */
  copy(dst: number, src: number, floats: number): void;
}

let compiled: WebAssembly.Module | undefined; // one module a thread, however many memories

/**
 * The kernels over `memory`, which must be shared. Synchronous: a module of half a kilobyte.
 * @throws CollectiveError `KERNELS_MISSING` where the package was not built.
 */
export function loadSumKernels(memory: WebAssembly.Memory): SumKernels {
  compiled ??= compile();
  const { add, sum, copy } = new WebAssembly.Instance(compiled, { env: { memory } }).exports;
  const kernels = { add, sum, copy };
  if (!isSumKernels(kernels))
    throw new CollectiveError(
      "KERNELS_MISSING",
      `${kernelsFile()} does not export add, sum and copy: run "npm run build"`,
    );
  return kernels;
}

function compile(): WebAssembly.Module {
  const file = kernelsFile();
  let binary: Uint8Array;
  try {
    binary = readFileSync(file);
  } catch (cause) {
    throw new CollectiveError("KERNELS_MISSING", `cannot read the sum kernels at ${file}: run "npm run build"`, {
      cause,
    });
  }
  return new WebAssembly.Module(Uint8Array.from(binary));
}

const kernelsFile = (): string => fileURLToPath(new URL("../kernels/sum.wasm", import.meta.url));

function isSumKernels(kernels: { readonly [K in keyof SumKernels]: unknown }): kernels is SumKernels {
  return [kernels.add, kernels.sum, kernels.copy].every((kernel) => typeof kernel === "function");
}
