/**
 * tfjs's wasm backend in this thread, with a way into its memory.
 *
 * tfjs instantiates its WebAssembly module where nobody can see it, so it is instantiated here instead: the package's own glue takes a function for that.
 * From its exports comes the memory, over which our kernels are instantiated as a second module: they read and write tensors where they lie. The
 * build with SIMD and without threads is the only one that is used, so nothing depends on what a machine offers.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { BackendWasm } from "@tensorflow/tfjs-backend-wasm";
import tf from "#tfjs";
import { BackendError } from "../backend-error.ts";
import { loadSimdKernels, type SimdKernels } from "./simd-kernels.ts";

export const backendName = "wasm";

/** A tensor as kernels see it. */
export type TensorInfo = tf.TensorInfo;

/** Tensors in the memory of tfjs's wasm backend, and kernels over that memory. */
export class WasmHeap {
  readonly memory: WebAssembly.Memory;
  readonly kernels: SimdKernels;
  readonly backend: BackendWasm;
  readonly #module: EmscriptenModule;
  #scratch = 0;
  #scratchBytes = 0;

  constructor(module: EmscriptenModule, memory: WebAssembly.Memory) {
    this.#module = module;
    this.memory = memory;
    this.kernels = loadSimdKernels(memory);
    this.backend = new BackendWasm(module as unknown as BackendWasm["wasm"]);
  }

  /** Where a tensor's values begin. A reshaped tensor shares its source's. */
  addressOf(tensor: TensorInfo): number {
    return this.backend.dataIdMap.get(tensor.dataId).memoryOffset >>> 0;
  }

  has(tensor: TensorInfo): boolean {
    return this.backend.dataIdMap.has(tensor.dataId);
  }

  /** A new tensor, its values undefined. */
  output(shape: readonly number[], dtype: tf.DataType = "float32"): TensorInfo {
    return this.backend.makeOutput([...shape], dtype);
  }

  zeros(shape: readonly number[]): TensorInfo {
    const tensor = this.output(shape);
    const start = this.addressOf(tensor);
    this.bytes.fill(0, start, start + tf.util.sizeFromShape([...shape]) * Float32Array.BYTES_PER_ELEMENT);
    return tensor;
  }

  /** Gives a tensor back that no caller ever sees. */
  free(tensor: TensorInfo): void {
    this.backend.disposeData(tensor.dataId);
  }

  /** The first value of a float32 tensor. */
  float(tensor: TensorInfo): number {
    return new Float32Array(this.memory.buffer, this.addressOf(tensor), 1)[0] ?? Number.NaN;
  }

  /** The memory as it is now: take it anew after every allocation. */
  get bytes(): Uint8Array {
    return this.#module.HEAPU8;
  }

  /** At least so many bytes, a multiple of 64, kept and used again: valid until the next call. */
  scratch(bytes: number): number {
    if (bytes > this.#scratchBytes) {
      if (this.#scratchBytes > 0) this.#module._free(this.#scratch);
      this.#scratchBytes = 0; // should there be no room
      this.#scratch = this.#module._malloc(bytes + cacheLine) >>> 0;
      this.#scratchBytes = bytes;
    }
    return Math.ceil(this.#scratch / cacheLine) * cacheLine;
  }
}

const cacheLine = 64;

/** What is used of the object that emscripten's glue hands over. */
interface EmscriptenModule {
  readonly HEAPU8: Uint8Array;
  _malloc(bytes: number): number;
  _free(address: number): void;
  cwrap(name: string, result: string | null, args: readonly string[]): (...args: number[]) => number;
  tfjs?: Record<string, (...args: number[]) => number>;
}

interface GlueOptions {
  instantiateWasm(imports: WebAssembly.Imports, done: (instance: WebAssembly.Instance) => void): object;
}

type Glue = (options: GlueOptions) => Promise<EmscriptenModule>;

/** Makes a wasm backend of our own instantiation the one that tfjs calls "wasm" in this thread. */
export async function openWasmBackend(): Promise<WasmHeap> {
  const { module, memory } = await instantiate();
  failWhereMemoryEnds(module, memory);
  module.tfjs = {
    init: module.cwrap("init", null, []),
    initWithThreadsCount: module.cwrap("init_with_threads_count", null, ["number"]),
    getThreadsCount: module.cwrap("get_threads_count", "number", []),
    registerTensor: module.cwrap("register_tensor", null, ["number", "number", "number"]),
    disposeData: module.cwrap("dispose_data", null, ["number"]),
    dispose: module.cwrap("dispose", null, []),
  };
  const heap = new WasmHeap(module, memory);
  tf.removeBackend(backendName); // registered by the package, which would instantiate its module unseen
  tf.registerBackend(backendName, () => heap.backend, 2);
  return heap;
}

async function instantiate(): Promise<{ module: EmscriptenModule; memory: WebAssembly.Memory }> {
  const require = createRequire(import.meta.url);
  const folder = join(dirname(require.resolve("@tensorflow/tfjs-backend-wasm/package.json")), "wasm-out");
  const glue: Glue = require(join(folder, "tfjs-backend-wasm.js"));
  const binary = Uint8Array.from(readFileSync(join(folder, "tfjs-backend-wasm-simd.wasm")));
  let memory: WebAssembly.Memory | undefined;
  // The glue makes every uncaught error in the process end it in its own way; that is no library's business.
  const restoreListeners = rememberListeners(["uncaughtException", "unhandledRejection"]);
  const ready = glue({
    instantiateWasm(imports, done) {
      const instance = new WebAssembly.Instance(new WebAssembly.Module(binary), imports);
      memory = Object.values(instance.exports).find((value) => value instanceof WebAssembly.Memory);
      done(instance);
      return instance.exports;
    },
  });
  restoreListeners();
  const module = await ready;
  if (memory === undefined) {
    throw new BackendError(
      "SETUP_FAILED",
      `expected ${folder}/tfjs-backend-wasm-simd.wasm to export a memory, found none; install @tensorflow/tfjs-backend-wasm 4.22.0`,
    );
  }
  return { module, memory };
}

type ErrorEvent = "uncaughtException" | "unhandledRejection";

function rememberListeners(events: readonly ErrorEvent[]): () => void {
  const before = events.map((event) => ({ event, listeners: new Set<unknown>(process.rawListeners(event)) }));
  return () => {
    for (const { event, listeners } of before) {
      const added = process.rawListeners(event).filter((listener) => !listeners.has(listener));
      for (const listener of added) process.removeListener(event, listener as () => void);
    }
  };
}

/** tfjs takes address 0, which is what an exhausted memory answers, for any other and writes there. */
function failWhereMemoryEnds(module: EmscriptenModule, memory: WebAssembly.Memory): void {
  module._free(module._malloc(1)); // the glue puts the function itself in its own place at its first call
  const allocate = module._malloc;
  module._malloc = (bytes) => {
    const address = allocate(bytes);
    if (address === 0) {
      const held = `${(memory.buffer.byteLength / 2 ** 20).toFixed(0)} MiB`;
      const advice = "a WebAssembly memory ends at 4 GiB: use fewer samples a seat (more seats), or libtensorflow";
      throw new BackendError("OP_FAILED", `no room for ${bytes} bytes more in a memory of ${held}; ${advice}`);
    }
    return address;
  };
}
