/** Kernels that few models need and tfjs's wasm backend lacks, borrowed from tfjs's CPU backend (JavaScript), values copied there and back. */
import tf from "#tfjs";
import { type Attributes, type Inputs, type Register, size } from "./kernel-registry.ts";
import type { TensorInfo, WasmHeap } from "./wasm-backend.ts";

/** The gradient of embeddings and of tf.gather. */
const borrowed = ["UnsortedSegmentSum"];

/** What is used of tfjs's MathBackendCPU, whose class the package does not type as such. */
interface CpuBackend extends tf.KernelBackend {
  firstUse: boolean;
  makeTensorInfo(shape: number[], dtype: tf.DataType, values: tf.TypedArray): TensorInfo;
  readSync(dataId: object): tf.TypedArray;
}

export function borrowKernels(heap: WasmHeap, register: Register): void {
  let cpu: CpuBackend | undefined;
  for (const name of borrowed) {
    register(name, () => (inputs, attributes) => {
      cpu ??= openCpu();
      return run(heap, cpu, name, inputs, attributes);
    });
  }
}

function openCpu(): CpuBackend {
  const cpu = tf.findBackendFactory("cpu")() as CpuBackend;
  cpu.firstUse = false; // it would advise to install tfjs-node
  return cpu;
}

function run(heap: WasmHeap, cpu: CpuBackend, name: string, inputs: Inputs, attributes: Attributes): TensorInfo {
  const lent = Object.entries(inputs).flatMap(([key, tensor]) =>
    tensor ? [[key, cpu.makeTensorInfo(tensor.shape, tensor.dtype, valuesOf(heap, tensor))] as const] : [],
  );
  const attrs = attributes as tf.NamedAttrMap;
  const { kernelFunc } = tf.getKernel(name, "cpu");
  const result = kernelFunc({ inputs: Object.fromEntries(lent), backend: cpu, attrs }) as TensorInfo;
  const out = heap.output(result.shape, result.dtype);
  const values = cpu.readSync(result.dataId);
  heap.bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), heap.addressOf(out));
  for (const { dataId } of [...lent.map(([, tensor]) => tensor), result]) cpu.disposeData(dataId, true);
  return out;
}

function valuesOf(heap: WasmHeap, tensor: TensorInfo): tf.TypedArray {
  const start = heap.addressOf(tensor);
  const bytes = heap.bytes.slice(start, start + size(tensor.shape) * tf.util.bytesPerElement(tensor.dtype));
  return tensor.dtype === "float32" ? new Float32Array(bytes.buffer) : new Int32Array(bytes.buffer);
}
