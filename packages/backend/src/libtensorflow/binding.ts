/**
 * The native binding that tfjs-node's kernels call (`TFJSBinding`), over libtensorflow's C API: a tensor is an id in a table of eager handles.
 *
 * While a trace is set, every op is executed as usual and recorded as well; `capture.ts` makes a TensorFlow function of the record. A handle deleted
 * during a trace lives until its end, because an op of the graph may still be about to name it.
 */
import type { TFJSBinding } from "#tfjs-node-kernels";
import { BackendError } from "../backend-error.ts";
import { attributeKinds, dims, type OpAttribute, setAttribute } from "./attributes.ts";
import type { CApi, Pointer } from "./c-api.ts";
import { dataTypes, elementBytes } from "./dtypes.ts";

export interface TensorInfo {
  readonly id: number;
  readonly shape: number[];
  readonly dtype: number;
}

export interface TracedOp {
  readonly name: string;
  readonly attributes: readonly OpAttribute[];
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

/** What happened between the start and the end of a capture. */
export interface Trace {
  readonly ops: TracedOp[];
  readonly deleted: Pointer[];
  /** Tensors made from JavaScript values during the trace: constants of the graph, unless they are inputs. */
  readonly constants: Map<number, Pointer>;
}

export type Binding = Omit<TFJSBinding, "TensorMetadata" | "TFEOpAttr"> & {
  readonly handles: Map<number, Pointer>;
  trace: Trace | undefined;
  /** Registers a handle that was made outside, and owns it from then on. */
  adopt(handle: Pointer): number;
  handleOf(id: number, what: string): Pointer;
  createRaw(shape: readonly number[], dtype: number, bytes: Uint8Array): number;
};

export function createBinding(c: CApi, context: Pointer, usesGpu: boolean): Binding {
  const handles = new Map<number, Pointer>();
  let nextId = 1;

  const binding: Binding = {
    handles,
    trace: undefined,
    TF_FLOAT: dataTypes.float,
    TF_INT32: dataTypes.int32,
    TF_INT64: dataTypes.int64,
    TF_BOOL: dataTypes.bool,
    TF_COMPLEX64: dataTypes.complex64,
    TF_STRING: dataTypes.string,
    TF_RESOURCE: dataTypes.resource,
    TF_UINT8: dataTypes.uint8,
    TF_ATTR_STRING: attributeKinds.string,
    TF_ATTR_INT: attributeKinds.int,
    TF_ATTR_FLOAT: attributeKinds.float,
    TF_ATTR_BOOL: attributeKinds.bool,
    TF_ATTR_TYPE: attributeKinds.type,
    TF_ATTR_SHAPE: attributeKinds.shape,
    TF_ATTR_RESOURCE: attributeKinds.resource,
    TF_Version: c.TF_Version(),

    adopt(handle) {
      const id = nextId++;
      handles.set(id, handle);
      return id;
    },

    handleOf(id, what) {
      const handle = handles.get(id);
      // A null handle would end the process inside C.
      if (handle === undefined)
        throw new BackendError("TENSOR_UNKNOWN", `${what}: tensor ${id} does not exist (disposed?)`);
      return handle;
    },

    createRaw(shape, dtype, bytes) {
      const tensor = c.TF_AllocateTensor(dtype, dims(shape), shape.length, bytes.byteLength);
      if (bytes.byteLength > 0) new Uint8Array(c.view(c.TF_TensorData(tensor), bytes.byteLength)).set(bytes);
      const handle = c.TFE_NewTensorHandle(tensor, c.status);
      c.TF_DeleteTensor(tensor);
      c.check("TFE_NewTensorHandle");
      const id = binding.adopt(handle);
      binding.trace?.constants.set(id, handle);
      return id;
    },

    createTensor: (shape, dtype, values) => binding.createRaw(shape, dtype, bytesOfValues(values, dtype)),

    deleteTensor(id) {
      const handle = handles.get(id);
      if (handle === undefined) return;
      handles.delete(id);
      if (binding.trace) binding.trace.deleted.push(handle);
      else c.TFE_DeleteTensorHandle(handle);
    },

    tensorDataSync(id) {
      if (binding.trace) {
        const advice =
          "compute with tensors only (no dataSync, arraySync, data or array) inside the model and the loss";
        throw new BackendError("VALUE_READ_IN_STEP", `a tensor's value was read inside the training step; ${advice}`);
      }
      const handle = binding.handleOf(id, "read");
      const tensor = c.TFE_TensorHandleResolve(handle, c.status);
      c.check("TFE_TensorHandleResolve");
      const bytes = c.TF_TensorByteSize(tensor);
      const copy = bytes > 0 ? c.view(c.TF_TensorData(tensor), bytes).slice(0) : new ArrayBuffer(0);
      c.TF_DeleteTensor(tensor);
      switch (c.TFE_TensorHandleDataType(handle)) {
        case dataTypes.float:
          return new Float32Array(copy);
        case dataTypes.int32:
          return new Int32Array(copy);
        default:
          return new Uint8Array(copy);
      }
    },

    executeOp(name, attributes, inputs, outputCount) {
      const op = c.TFE_NewOp(context, name, c.status);
      c.check(name);
      let outputs: (bigint | null)[];
      try {
        for (const attribute of attributes) setAttribute(c, "eager", op, attribute);
        for (const id of inputs) {
          c.TFE_OpAddInput(op, binding.handleOf(id, name), c.status);
          c.check(name);
        }
        outputs = new Array<bigint | null>(outputCount).fill(null);
        c.TFE_Execute(op, outputs, [outputCount], c.status);
        c.check(name);
      } finally {
        c.TFE_DeleteOp(op);
      }
      const infos = outputs.map((handle) => describe(c, binding.adopt(handle as Pointer), handle as Pointer));
      binding.trace?.ops.push({ name, attributes, inputs: [...inputs], outputs: infos.map((info) => info.id) });
      return infos;
    },

    isUsingGpuDevice: () => usesGpu,
    getNumOfTensors: () => handles.size,
    getNumOfSavedModels: () => 0,
    loadSavedModel: () => refuse("loadSavedModel"),
    deleteSavedModel: () => refuse("deleteSavedModel"),
    runSavedModel: () => refuse("runSavedModel"),
  };
  return binding;
}

function describe(c: CApi, id: number, handle: Pointer): TensorInfo {
  const rank = c.TFE_TensorHandleNumDims(handle, c.status);
  const shape = Array.from({ length: rank }, (_, index) => Number(c.TFE_TensorHandleDim(handle, index, c.status)));
  return { id, shape, dtype: c.TFE_TensorHandleDataType(handle) };
}

/** tfjs hands values over as typed arrays or plain lists; an int64 comes as pairs of int32 words. */
function bytesOfValues(values: unknown, dtype: number): Uint8Array {
  if (elementBytes(dtype) === undefined) {
    throw new TypeError(`tensors of TensorFlow's type ${dtype} cannot be made from JavaScript values`);
  }
  const list = values as ArrayLike<number>;
  const view = ArrayBuffer.isView(values)
    ? values
    : dtype === dataTypes.float
      ? Float32Array.from(list)
      : dtype === dataTypes.int32
        ? Int32Array.from(list)
        : Uint8Array.from(list);
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function refuse(what: string): never {
  throw new TypeError(`${what}: SavedModels are not part of Ringmaster's binding`);
}
