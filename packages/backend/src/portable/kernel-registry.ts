/** How kernels are put in the place of those of tfjs's wasm backend, or beside them. */
import tf from "#tfjs";
import { backendName, type TensorInfo, type WasmHeap } from "./wasm-backend.ts";

export type Inputs = Readonly<Record<string, TensorInfo | undefined>>;
export type Attributes = Readonly<Record<string, unknown>>;
export type Kernel = (inputs: Inputs, attributes: Attributes) => TensorInfo | TensorInfo[];

/** Registers a kernel for this backend; `make` is handed what is registered under that name so far. */
export type Register = (name: string, make: (original: Kernel) => Kernel) => void;

export function registry(heap: WasmHeap): Register {
  return (name, make) => {
    const config = tf.getKernel(name, backendName);
    const original: Kernel = (inputs, attributes) => {
      if (!config) throw new Error(`the wasm backend of tfjs has no kernel ${name}`);
      const attrs = attributes as tf.NamedAttrMap;
      return config.kernelFunc({ inputs: inputs as tf.NamedTensorInfoMap, backend: heap.backend, attrs });
    };
    const kernel = make(original);
    if (config) tf.unregisterKernel(name, backendName);
    tf.registerKernel({
      ...config,
      kernelName: name,
      backendName,
      kernelFunc: ({ inputs, attrs }) => kernel(inputs, (attrs ?? {}) as Attributes),
    });
  };
}

/** An input that a kernel cannot do without. */
export function input(inputs: Inputs, name: string): TensorInfo {
  const tensor = inputs[name];
  if (tensor === undefined || tensor === null) throw new TypeError(`a kernel was called without its input ${name}`);
  return tensor;
}

export const one = (output: TensorInfo | TensorInfo[]): TensorInfo => {
  const first = Array.isArray(output) ? output[0] : output;
  if (first === undefined) throw new TypeError("a kernel returned nothing");
  return first;
};

export const size = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);
