/**
 * Captured functions: the ops that a body asks for, made into a TensorFlow function for each stage, which runs as a single op.
 *
 * A tensor that the ops name is, in this order: an input (fed at each call), the output of a recorded op, or a constant (its present value is copied
 * into the graph). Whatever lies outside the inputs is therefore frozen; that is right for shapes and scalars and wrong for random numbers, which
 * `keyed-draws.ts` draws from fed counters instead.
 */
import type { Compiler } from "../compute-backend.ts";
import { dims, setAttribute } from "../libtensorflow/attributes.ts";
import type { Binding, Trace, TracedOp } from "../libtensorflow/binding.ts";
import type { CApi, GraphOutput, Pointer } from "../libtensorflow/c-api.ts";
import { addOperands } from "../libtensorflow/shape-graph.ts";
import { halfOperands } from "./half-operands.ts";
import { planStages, type Stage } from "./stage-plan.ts";

export interface CapturedFunction {
  /** Number of recorded ops that a call executes, for benchmarks and logs. */
  readonly ops: number;
  /**
   * Runs the stages one after another.
   * @param inputs handles in the order of the capture's inputs
   * @param read called for each output of a stage with its native bytes, valid during the call only
   * @param onStage called once a stage's outputs were read
   */
  run(
    inputs: readonly Pointer[],
    read: (output: number, data: Pointer, bytes: number) => void,
    onStage: ((stage: number) => void) | undefined,
  ): void;
  dispose(): void;
}

export interface CaptureResult {
  /** Ids fed at each call. */
  readonly inputs: readonly number[];
  /** Ids handed back by each call. */
  readonly outputs: readonly number[];
  /** Indices of outputs, a list a stage. */
  readonly stages: readonly (readonly number[])[];
}

export interface CallOptions {
  /** A serialised ConfigProto. */
  readonly config: Uint8Array;
  readonly compiler: Compiler;
  /** See `half-operands.ts`. */
  readonly roundsOperands: boolean;
}

interface StageFunction {
  readonly name: string;
  readonly stage: Stage<TracedOp>;
  /** Indices of the outputs that it hands over. */
  readonly results: readonly number[];
}

/**
 * TensorFlow takes oneDNN's gradient of a pooling only where the pooling itself is in the graph, which leaves it a workspace; without it, the gradient looks for
 * each maximum again and takes ten times as long as the pooling.
 */
const isRepeated = ({ name }: TracedOp): boolean => name === "MaxPool" || name === "AvgPool";

const filterGradient = "Conv2DBackpropFilter";
const inputGradient = "Conv2DBackpropInput";

/**
 * A convolution's two gradients read the same values. Left to itself, TensorFlow sometimes computes the rest of the backward pass between them, and the second
 * takes half as long again, its operands being gone from the caches.
 */
function filterGradientsFirst(ops: readonly TracedOp[]): TracedOp[] {
  const sorted = [...ops];
  for (const filter of ops.filter(({ name }) => name === filterGradient)) {
    const at = sorted.findIndex(({ name, inputs }) => name === inputGradient && inputs[2] === filter.inputs[2]);
    const from = sorted.indexOf(filter);
    // A transposed convolution is itself an op of that name, of whose result its filter's gradient follows.
    const isThere = sorted.slice(at, from).every(({ outputs }) => !outputs.some((id) => filter.inputs.includes(id)));
    if (at >= 0 && at < from && isThere) sorted.splice(at, 0, ...sorted.splice(from, 1));
  }
  return sorted;
}

let functionCount = 0;

/** Makes functions of a trace that has ended but whose handles are still there. `options`: of each call. */
export function buildFunction(
  c: CApi,
  context: Pointer,
  binding: Binding,
  trace: Trace,
  result: CaptureResult,
  options: CallOptions,
): CapturedFunction {
  const resultIds = result.stages.map((outputs) => outputs.map((output) => result.outputs[output] ?? -1));
  const stages = planStages({ ops: trace.ops, fed: result.inputs, results: resultIds, isRepeated });
  const functions = stages.map((stage, index): StageFunction => {
    const name = `captured_${functionCount++}`;
    defineFunction(c, context, binding, trace, stage, name, options.roundsOperands);
    return { name, stage, results: result.stages[index] ?? [] };
  });
  return {
    ops: stages.reduce((ops, stage) => ops + stage.ops.length, 0),
    run(inputs, read, onStage) {
      const values = new Map(result.inputs.map((id, index) => [id, inputs[index] as Pointer]));
      const owned = new Set<number>();
      try {
        functions.forEach(({ name, stage, results }, index) => {
          const operands = stage.inputs.map((id) => values.get(id) as Pointer);
          call(c, context, name, options, operands, stage.outputs.length).forEach((handle, output) => {
            const id = stage.outputs[output] ?? -1;
            values.set(id, handle);
            owned.add(id);
          });
          for (const output of results) {
            const tensor = c.TFE_TensorHandleResolve(values.get(result.outputs[output] ?? -1) as Pointer, c.status);
            c.check("captured step's output");
            read(output, c.TF_TensorData(tensor), c.TF_TensorByteSize(tensor));
            c.TF_DeleteTensor(tensor);
          }
          for (const id of stage.releases) {
            c.TFE_DeleteTensorHandle(values.get(id) as Pointer);
            owned.delete(id);
          }
          onStage?.(index);
        });
      } finally {
        for (const id of owned) c.TFE_DeleteTensorHandle(values.get(id) as Pointer);
      }
    },
    dispose() {
      for (const { name, stage } of functions) {
        if (stage.outputs.length === 0) continue;
        c.TFE_ContextRemoveFunction(context, name, c.status);
        c.check("dispose of a captured function");
      }
    },
  };
}

/** Adds the stage to the context as a function of its inputs; a stage that computes nothing needs none. */
function defineFunction(
  c: CApi,
  context: Pointer,
  binding: Binding,
  trace: Trace,
  stage: Stage<TracedOp>,
  name: string,
  roundsOperands: boolean,
): void {
  if (stage.outputs.length === 0) return;
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
    const { shape, dtype } = trace.described.get(id) ?? binding.describe(id);
    const oper = operation("Placeholder", (description) => {
      c.TF_SetAttrType(description, "dtype", dtype);
      c.TF_SetAttrShape(description, "shape", shape ? dims(shape) : null, shape?.length ?? -1);
    });
    return { oper, index: 0 };
  };
  const constantOf = (id: number): GraphOutput => {
    const handle = trace.constants.get(id) ?? trace.deleted.get(id) ?? binding.handleOf(id, "capture constant");
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

  const inputs = stage.inputs.map((id) => {
    const input = placeholder(id);
    values.set(id, input);
    return input;
  });
  const asRead = roundsOperands
    ? halfOperands(c, operation)
    : (_op: string, operands: readonly GraphOutput[]) => operands;
  /** By the id of the gradient that both read. */
  const filterGradients = new Map<number | undefined, Pointer>();
  for (const op of filterGradientsFirst(stage.ops)) {
    const operands = asRead(op.name, op.inputs.map(outputOf));
    const before = op.name === inputGradient ? filterGradients.get(op.inputs[2]) : undefined;
    const oper = operation(op.name, (description) => {
      for (const attribute of op.attributes) setAttribute(c, "graph", description, attribute);
      addOperands(c, description, op, operands);
      if (before !== undefined) c.TF_AddControlInput(description, before);
    });
    if (op.name === filterGradient) filterGradients.set(op.inputs[2], oper);
    op.outputs.forEach((id, index) => {
      values.set(id, { oper, index });
    });
  }
  const outputs = stage.outputs.map(outputOf);
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
}

/** @returns handles of the function's outputs, the caller's to delete */
function call(
  c: CApi,
  context: Pointer,
  name: string,
  { config, compiler }: CallOptions,
  inputs: readonly Pointer[],
  outputCount: number,
): Pointer[] {
  if (outputCount === 0) return [];
  const op = c.TFE_NewOp(context, name, c.status);
  c.check("captured step");
  const outputs = new Array<bigint | null>(outputCount).fill(null);
  try {
    c.TFE_OpSetAttrString(op, "config_proto", config, config.length);
    if (compiler === "xla") c.TFE_OpSetAttrBool(op, "_XlaMustCompile", 1);
    for (const handle of inputs) c.TFE_OpAddInput(op, handle, c.status);
    c.check("captured step");
    c.TFE_Execute(op, outputs, [outputCount], c.status);
    c.check("captured step");
  } finally {
    c.TFE_DeleteOp(op);
  }
  return outputs as Pointer[];
}
