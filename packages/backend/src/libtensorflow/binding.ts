/**
 * The native binding that tfjs-node's kernels call (`TFJSBinding`), over libtensorflow's C API: a tensor is an id in a table of eager handles.
 *
 * While a trace is set, ops are recorded; `tensorflow/capture.ts` makes TensorFlow functions of the record. With a shape graph, none is executed: results are
 * ids with a shape and no handle. A tensor that no recorded op has made may be a constant of the graph: where it is deleted during a trace, its handle lives
 * until the trace ends.
 */
import type { TFJSBinding } from "#tfjs-node-kernels";
import { BackendError } from "../backend-error.ts";
import { attributeKinds, dims, type OpAttribute, setAttribute } from "./attributes.ts";
import type { CApi, Pointer } from "./c-api.ts";
import { dataTypes, elementBytes } from "./dtypes.ts";
import type { Described, ShapeGraph } from "./shape-graph.ts";

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
  /** Stands in for executing the ops; undefined: they are executed. */
  readonly shapes: ShapeGraph | undefined;
  readonly ops: TracedOp[];
  /** What the ops have made. */
  readonly described: Map<number, Described>;
  /** Tensors made from JavaScript values during the trace: constants of the graph, unless they are inputs. */
  readonly constants: Map<number, Pointer>;
  /** Handles deleted during the trace that the graph may name. */
  readonly deleted: Map<number, Pointer>;
  /** The op whose result was first read into JavaScript: what follows from it cannot be captured. */
  readBy: string | undefined;
}

export const newTrace = (shapes: ShapeGraph | undefined): Trace => ({
  shapes,
  ops: [],
  described: new Map(),
  constants: new Map(),
  deleted: new Map(),
  readBy: undefined,
});

/** Thrown out of a body that cannot be recorded without executing it; `Trace.readBy` says why. The code tells it from a failure. */
export class ValueNeeded extends Error {
  readonly code = "VALUE_NEEDED";
}

export type Binding = Omit<TFJSBinding, "TensorMetadata" | "TFEOpAttr"> & {
  readonly handles: Map<number, Pointer>;
  trace: Trace | undefined;
  /** Registers a handle that was made outside, and owns it from then on. */
  adopt(handle: Pointer): number;
  handleOf(id: number, what: string): Pointer;
  describe(id: number): TensorInfo;
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

    describe: (id) => describe(c, id, binding.handleOf(id, "describe")),

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
      if (binding.trace && !binding.trace.described.has(id)) binding.trace.deleted.set(id, handle);
      else c.TFE_DeleteTensorHandle(handle);
    },

    tensorDataSync(id) {
      const { trace } = binding;
      // The values of a constant are known before the step: reading them is no obstacle.
      if (trace && !trace.constants.has(id)) {
        trace.readBy ??= trace.ops.find(({ outputs }) => outputs.includes(id))?.name ?? "an input of the step";
        if (trace.shapes) throw new ValueNeeded();
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
      const { trace } = binding;
      if (trace?.shapes) return record(trace, trace.shapes, { name, attributes }, inputs, outputCount);
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
      if (trace) {
        trace.ops.push({ name, attributes, inputs: [...inputs], outputs: infos.map((info) => info.id) });
        for (const info of infos) trace.described.set(info.id, info);
      }
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

  function record(
    trace: Trace,
    shapes: ShapeGraph,
    op: Pick<TracedOp, "name" | "attributes">,
    inputs: readonly number[],
    outputCount: number,
  ): TensorInfo[] {
    const outputs = Array.from({ length: outputCount }, () => nextId++);
    const described = shapes.add(op, inputs, outputs, (id) => binding.handleOf(id, op.name));
    if (!described) {
      trace.readBy ??= op.name;
      throw new ValueNeeded();
    }
    trace.ops.push({ ...op, inputs: [...inputs], outputs });
    return described.map((each, index) => {
      const id = outputs[index] ?? -1;
      trace.described.set(id, each);
      return { id, shape: each.shape ?? [], dtype: each.dtype };
    });
  }
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
