import { cpus } from "node:os";
import * as tf from "@tensorflow/tfjs";
import { NodeJSKernelBackend } from "#tfjs-node-kernels";
import { BackendError } from "./backend-error.ts";
import { type CapturedFunction, capture } from "./capture.ts";
import { requirePrecision } from "./cpu-features.ts";
import { registerFasterKernels } from "./kernels/faster-kernels.ts";
import { KeyedDraws } from "./keyed-random.ts";
import { dims } from "./libtensorflow/attributes.ts";
import { type Binding, createBinding } from "./libtensorflow/binding.ts";
import { type CApi, loadCApi, type Pointer } from "./libtensorflow/c-api.ts";
import { contextConfig, type Precision } from "./libtensorflow/config-proto.ts";
import { dataTypes, elementBytes } from "./libtensorflow/dtypes.ts";
import { requireLibtensorflow } from "./libtensorflow/location.ts";
import { addressOfMemory } from "./shared-memory.ts";

export interface Device {
  readonly kind: "cpu" | "gpu";
  /** What a person recognises: the CPU's model, or the GPU's number. */
  readonly name: string;
}

export interface StepCapture {
  /** Handed over at each call, in this order, before the numbers that the draws need. */
  readonly inputs: readonly tf.Tensor[];
  readonly outputs: readonly tf.Tensor[];
}

export interface CallOptions {
  /** Handles in the order of the capture's inputs. */
  readonly inputs: readonly Pointer[];
  readonly random: { readonly seed: number; readonly step: number; readonly firstSlot: number };
  /** Called for each output in order with its native bytes, valid during the call only. */
  readonly read: (output: number, data: Pointer, bytes: number) => void;
}

export interface CapturedStep {
  readonly ops: number;
  /** @throws BackendError OP_FAILED, also once the step was disposed. */
  run(options: CallOptions): void;
  /** Frees the function; calling it again does nothing. */
  dispose(): void;
}

/** The `tensorflow` backend of tfjs in this thread: one TensorFlow context with one intra-op and one inter-op thread. */
export interface TensorflowBackend {
  readonly device: Device;
  /** TensorFlow's version, e.g. "2.21.0". */
  readonly version: string;
  /**
   * Executes `body` once and returns what it did as one TensorFlow function; random layers inside it draw keyed numbers. In bfloat16, convolutions
   * and products of matrices are computed in that precision; what goes in and comes out is float32. Default float32.
   * @throws BackendError PRECISION_UNSUPPORTED on a CPU without bfloat16, which would compute in float32 and say nothing.
   */
  captureStep(body: () => StepCapture, precision?: Precision): CapturedStep;
  /** A tensor over shared memory, fed without a copy: what is written there later is what the next call sees. */
  viewOf(memory: WebAssembly.Memory, byteOffset: number, shape: readonly number[], dtype: "float32" | "int32"): Pointer;
  /** Copies native bytes, such as a captured step's output, to shared memory. */
  copyTo(memory: WebAssembly.Memory, byteOffset: number, data: Pointer, bytes: number): void;
  /** Live tensors, for tests of leaks. */
  tensorCount(): number;
}

export type DevicePreference = "auto" | "cpu" | "gpu";

let opening: Promise<TensorflowBackend> | undefined;
let current: KeyedDraws | undefined;
let makeTensor: ((id: number, shape: readonly number[]) => tf.Tensor) | undefined;

/**
 * Loads libtensorflow into the process and into this thread. A process does so in its main thread before it starts compute threads: only there
 * do the library's log settings take effect.
 * @throws BackendError LIBTENSORFLOW_MISSING, LIBTENSORFLOW_DAMAGED
 */
export function loadLibtensorflow(): { readonly version: string } {
  return { version: loadCApi(requireLibtensorflow()).TF_Version() };
}

/**
 * Makes TensorFlow the backend of tfjs in this thread; later calls return the same backend.
 * @throws BackendError DEVICE_UNAVAILABLE when a GPU is asked for and libtensorflow sees none, or this thread already works on the CPU.
 */
export async function openTensorflowBackend(preference: DevicePreference = "auto"): Promise<TensorflowBackend> {
  opening ??= open(preference).catch((error: unknown) => {
    opening = undefined;
    throw error;
  });
  const backend = await opening;
  if (preference === "gpu" && backend.device.kind !== "gpu") {
    const advice = 'ask for device "gpu" wherever the backend is opened';
    throw new BackendError("DEVICE_UNAVAILABLE", `expected a GPU, this thread was opened on the CPU; ${advice}`);
  }
  return backend;
}

async function open(preference: DevicePreference): Promise<TensorflowBackend> {
  const c = loadCApi(requireLibtensorflow());
  const context = newContext(c, preference);
  const device = chooseDevice(c, context, preference);
  const binding = createBinding(c, context, device.kind === "gpu");
  const backend = new NodeJSKernelBackend(
    binding as unknown as NodeJSKernelBackend["binding"],
    "@tensorflow/tfjs-node-gpu",
  );
  tf.registerBackend("tensorflow", () => backend, 3);
  registerFasterKernels("tensorflow");
  await tf.setBackend("tensorflow");
  await tf.ready();

  const internals = backend as unknown as BackendInternals;
  makeTensor = (id, shape) => internals.createOutputTensor({ id, shape: [...shape], dtype: dataTypes.float });
  const idOf = (tensor: tf.Tensor): number => {
    if (tensor.isDisposed) {
      const advice = "hand back tensors that were neither disposed of nor made inside a tf.tidy";
      throw new BackendError(
        "TENSOR_UNKNOWN",
        `a captured step names tensor ${tensor.id}, which is disposed; ${advice}`,
      );
    }
    return internals.getInputTensorIds([tensor])[0] ?? -1;
  };

  return {
    device,
    version: c.TF_Version(),
    tensorCount: () => binding.handles.size,
    copyTo: (memory, byteOffset, data, bytes) => c.copy(addressOfMemory(c, memory) + BigInt(byteOffset), data, bytes),
    viewOf: (memory, byteOffset, shape, dtype) => viewOf(c, memory, byteOffset, shape, dtype),
    captureStep(body, precision = "float32") {
      if (device.kind === "cpu") requirePrecision(precision);
      return captureStep(c, context, binding, idOf, precision, body);
    },
  };
}

/** What tfjs-node keeps private of its backend and Ringmaster needs: the way from a tensor to its id and back. */
interface BackendInternals {
  getInputTensorIds(tensors: readonly tf.Tensor[]): number[];
  createOutputTensor(metadata: { id: number; shape: number[]; dtype: number }): tf.Tensor;
}

function newContext(c: CApi, preference: DevicePreference): Pointer {
  const options = c.TFE_NewContextOptions();
  const config = contextConfig(preference === "cpu" ? "cpu" : "any");
  c.TFE_ContextOptionsSetConfig(options, config, config.length, c.status);
  c.check("TensorFlow's configuration");
  const context = c.TFE_NewContext(options, c.status);
  c.check("TensorFlow's context");
  c.TFE_DeleteContextOptions(options);
  return context;
}

function chooseDevice(c: CApi, context: Pointer, preference: DevicePreference): Device {
  const list = c.TFE_ContextListDevices(context, c.status);
  c.check("TensorFlow's devices");
  const found = Array.from({ length: c.TF_DeviceListCount(list) }, (_, index) => ({
    name: c.TF_DeviceListName(list, index, c.status),
    type: c.TF_DeviceListType(list, index, c.status),
  }));
  c.TF_DeleteDeviceList(list);
  const gpu = found.find(({ type }) => type === "GPU");
  if (gpu) return { kind: "gpu", name: gpu.name.replace(/^.*device:/, "") };
  if (preference === "gpu") {
    const seen = found.map(({ type }) => type).join(", ");
    const advice = 'use --device cpu, or run "npx ringmaster doctor" to see what is there';
    throw new BackendError(
      "DEVICE_UNAVAILABLE",
      `expected a GPU, libtensorflow ${c.TF_Version()} sees only: ${seen}; ${advice}`,
    );
  }
  return { kind: "cpu", name: cpus()[0]?.model.trim() || "CPU" };
}

function viewOf(
  c: CApi,
  memory: WebAssembly.Memory,
  byteOffset: number,
  shape: readonly number[],
  dtype: "float32" | "int32",
): Pointer {
  const type = dtype === "float32" ? dataTypes.float : dataTypes.int32;
  const bytes = shape.reduce((product, size) => product * size, elementBytes(type) ?? 0);
  const data = addressOfMemory(c, memory) + BigInt(byteOffset);
  const tensor = c.TF_NewTensor(type, dims(shape), shape.length, data, bytes, c.keep, null);
  const handle = c.TFE_NewTensorHandle(tensor, c.status);
  c.TF_DeleteTensor(tensor);
  c.check("a tensor over shared memory");
  return handle;
}

function captureStep(
  c: CApi,
  context: Pointer,
  binding: Binding,
  idOf: (tensor: tf.Tensor) => number,
  precision: Precision,
  body: () => StepCapture,
): CapturedStep {
  const fed = new Map<number, DataView>();
  // What the draws make on their way and no tensor of tfjs owns.
  const passing: number[] = [];
  const pass = (id: number): number => {
    passing.push(id);
    return id;
  };
  const draws = new KeyedDraws({
    input(shape, dtype) {
      const id = binding.createRaw(
        shape,
        dtype,
        new Uint8Array(shape.reduce((a, b) => a * b, elementBytes(dtype) ?? 0)),
      );
      fed.set(id, memoryOfHandle(c, binding.handleOf(id, "input")));
      return id;
    },
    constant: (values, shape) => pass(binding.createRaw(shape, dataTypes.int32, new Uint8Array(values.buffer))),
    execute: (name, attributes, inputs) => pass(binding.executeOp(name, attributes, inputs, 1)[0]?.id ?? -1),
  });
  current = draws;
  const restoreRandom = forbidRandom();
  let captured: CapturedFunction | undefined;
  try {
    // The graph is built before tidy disposes of the tensors that it names.
    tf.tidy(() => {
      captured = capture(c, context, binding, precision, () => {
        const step = body();
        return { inputs: [...step.inputs.map(idOf), ...fed.keys()], outputs: step.outputs.map(idOf) };
      });
    });
  } finally {
    restoreRandom();
    current = undefined;
    for (const id of passing) binding.deleteTensor(id);
    if (captured === undefined) for (const id of fed.keys()) binding.deleteTensor(id);
  }
  const step = captured as CapturedFunction;
  const fedHandles = [...fed.keys()].map((id) => binding.handleOf(id, "random feed"));
  let disposed = false;
  return {
    ops: step.ops,
    run({ inputs, random, read }) {
      // Its feeds' memory is gone: writing there would corrupt the process.
      if (disposed) throw new BackendError("OP_FAILED", "expected a captured step to run, found one that was disposed");
      draws.feed((id) => fed.get(id) ?? missing(id), random.seed, random.step, random.firstSlot);
      step.run([...inputs, ...fedHandles], read);
    },
    dispose() {
      if (disposed) return;
      disposed = true;
      step.dispose();
      for (const id of fed.keys()) binding.deleteTensor(id);
    },
  };
}

/** The memory that an eager CPU tensor's handle shares; it lives as long as the handle. */
function memoryOfHandle(c: CApi, handle: Pointer): DataView {
  const tensor = c.TFE_TensorHandleResolve(handle, c.status);
  c.check("a fed tensor");
  const view = new DataView(c.view(c.TF_TensorData(tensor), c.TF_TensorByteSize(tensor)));
  c.TF_DeleteTensor(tensor);
  return view;
}

/** A number drawn in JavaScript would be frozen into the captured function: every step would use the same. */
function forbidRandom(): () => void {
  const original = Math.random;
  Math.random = () => {
    const advice = "use keyedUniform or keyedNormal, or a layer that Ringmaster keys (dropout, Gaussian noise)";
    throw new BackendError(
      "RANDOM_IN_STEP",
      `the model draws a random number in JavaScript inside the training step; ${advice}`,
    );
  };
  return () => {
    Math.random = original;
  };
}

function missing(id: number): never {
  throw new BackendError("TENSOR_UNKNOWN", `random feed ${id} does not exist`);
}

/** Whether a step is being captured in this thread: random layers draw keyed numbers then. */
export const isCapturing = (): boolean => current !== undefined;

/** Uniform in [0, 1), float32, keyed by (seed, step, slot, draw); `shape[0]` is the seat's samples. Inside a captured step only. */
export const keyedUniform = (shape: readonly number[]): tf.Tensor => keyed("StatelessRandomUniformV2", shape);

/** Standard normal, float32, keyed like {@link keyedUniform}. */
export const keyedNormal = (shape: readonly number[]): tf.Tensor => keyed("StatelessRandomNormalV2", shape);

function keyed(op: "StatelessRandomUniformV2" | "StatelessRandomNormalV2", shape: readonly number[]): tf.Tensor {
  if (!current || !makeTensor)
    throw new BackendError("RANDOM_IN_STEP", "keyed random numbers exist inside a captured step only");
  return makeTensor(current.draw(op, shape), shape);
}
