/**
 * Captured functions: the ops of one eager execution, made into a TensorFlow function that runs as a single op.
 *
 * A tensor that the ops name is, in this order: an input (fed at each call), the output of a recorded op, or a constant (its present value is copied
 * into the graph). Whatever lies outside the inputs is therefore frozen; that is right for shapes and scalars and wrong for random numbers, which
 * `keyed-random.ts` draws from fed counters instead.
 */
import { dims, setAttribute } from "./libtensorflow/attributes.ts";
import type { Binding, Trace } from "./libtensorflow/binding.ts";
import type { CApi, GraphOutput, Pointer } from "./libtensorflow/c-api.ts";
import { callConfig, type Precision } from "./libtensorflow/config-proto.ts";

export interface CapturedFunction {
  /** Number of recorded ops, for benchmarks and logs. */
  readonly ops: number;
  /**
   * Runs the function. `read` is called once for each output, in order, with its native bytes, valid during the call only.
   * @param inputs handles in the order of the capture's inputs
   */
  run(inputs: readonly Pointer[], read: (output: number, data: Pointer, bytes: number) => void): void;
  dispose(): void;
}

export interface CaptureResult {
  /** Ids fed at each call. */
  readonly inputs: readonly number[];
  /** Ids handed back by each call. */
  readonly outputs: readonly number[];
}

/** Ops whose first `N` inputs are one list. */
const listOps = new Set(["AddN", "Concat", "ConcatV2", "Pack"]);
let functionCount = 0;

/** Runs `body` once, eagerly, and returns what it did as a function. `body` says which ids are inputs and outputs. */
export function capture(
  c: CApi,
  context: Pointer,
  binding: Binding,
  precision: Precision,
  body: () => CaptureResult,
): CapturedFunction {
  const trace: Trace = { ops: [], deleted: [], constants: new Map() };
  binding.trace = trace;
  try {
    const result = body();
    return buildFunction(c, context, binding, trace, result, callConfig(precision));
  } finally {
    binding.trace = undefined;
    for (const handle of trace.deleted) c.TFE_DeleteTensorHandle(handle);
  }
}

function buildFunction(
  c: CApi,
  context: Pointer,
  binding: Binding,
  trace: Trace,
  result: CaptureResult,
  config: Uint8Array,
): CapturedFunction {
  const graph = c.TF_NewGraph();
  const values = new Map<number, GraphOutput>();
  let nodes = 0;

  const operation = (type: string, fill: (description: Pointer) => void): Pointer => {
    const description = c.TF_NewOperation(graph, type, `${type}_${nodes++}`);
    fill(description);
    const finished = c.TF_FinishOperation(description, c.status);
    c.check(`capture of ${type}`);
    return finished;
  };
  const placeholder = (id: number): GraphOutput => {
    const handle = binding.handleOf(id, "capture input");
    const rank = c.TFE_TensorHandleNumDims(handle, c.status);
    const shape = Array.from({ length: rank }, (_, index) => Number(c.TFE_TensorHandleDim(handle, index, c.status)));
    const oper = operation("Placeholder", (description) => {
      c.TF_SetAttrType(description, "dtype", c.TFE_TensorHandleDataType(handle));
      c.TF_SetAttrShape(description, "shape", dims(shape), shape.length);
    });
    return { oper, index: 0 };
  };
  const constantOf = (id: number): GraphOutput => {
    const handle = trace.constants.get(id) ?? binding.handleOf(id, "capture constant");
    const tensor = c.TFE_TensorHandleResolve(handle, c.status);
    c.check("capture constant");
    const oper = operation("Const", (description) => {
      c.TF_SetAttrType(description, "dtype", c.TFE_TensorHandleDataType(handle));
      c.TF_SetAttrTensor(description, "value", tensor, c.status);
    });
    c.TF_DeleteTensor(tensor);
    return { oper, index: 0 };
  };
  const outputOf = (id: number): GraphOutput => {
    let value = values.get(id);
    if (value === undefined) {
      value = constantOf(id);
      values.set(id, value);
    }
    return value;
  };

  const inputs = result.inputs.map((id) => {
    const input = placeholder(id);
    values.set(id, input);
    return input;
  });
  for (const op of trace.ops) {
    const operands = op.inputs.map(outputOf);
    const oper = operation(op.name, (description) => {
      for (const attribute of op.attributes) setAttribute(c, "graph", description, attribute);
      const listed = listOps.has(op.name) ? Number(op.attributes.find(({ name }) => name === "N")?.value) : 0;
      if (listed > 0) c.TF_AddInputList(description, operands.slice(0, listed), listed);
      for (const operand of operands.slice(listed)) c.TF_AddInput(description, operand);
    });
    op.outputs.forEach((id, index) => {
      values.set(id, { oper, index });
    });
  }
  const outputs = result.outputs.map(outputOf);
  const name = `captured_${functionCount++}`;
  const body = c.TF_GraphToFunction(
    graph,
    name,
    0,
    -1,
    null,
    inputs.length,
    inputs,
    outputs.length,
    outputs,
    null,
    null,
    null,
    c.status,
  );
  c.check("capture");
  c.TFE_ContextAddFunction(context, body, c.status);
  c.check("capture");
  c.TF_DeleteFunction(body);
  c.TF_DeleteGraph(graph);
  return {
    ops: trace.ops.length,
    run: (fed, read) => call(c, context, name, config, fed, outputs.length, read),
    dispose() {
      c.TFE_ContextRemoveFunction(context, name, c.status);
      c.check("dispose of a captured function");
    },
  };
}

function call(
  c: CApi,
  context: Pointer,
  name: string,
  config: Uint8Array,
  inputs: readonly Pointer[],
  outputCount: number,
  read: (output: number, data: Pointer, bytes: number) => void,
): void {
  const op = c.TFE_NewOp(context, name, c.status);
  c.check("captured step");
  const outputs = new Array<bigint | null>(outputCount).fill(null);
  try {
    c.TFE_OpSetAttrString(op, "config_proto", config, config.length);
    for (const handle of inputs) c.TFE_OpAddInput(op, handle, c.status);
    c.check("captured step");
    c.TFE_Execute(op, outputs, [outputCount], c.status);
    c.check("captured step");
  } finally {
    c.TFE_DeleteOp(op);
  }
  outputs.forEach((handle, index) => {
    const tensor = c.TFE_TensorHandleResolve(handle as Pointer, c.status);
    c.check("captured step's output");
    read(index, c.TF_TensorData(tensor), c.TF_TensorByteSize(tensor));
    c.TF_DeleteTensor(tensor);
    c.TFE_DeleteTensorHandle(handle as Pointer);
  });
}
