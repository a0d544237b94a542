/**
 * What an op would give, without computing it: TensorFlow's shape functions over a graph that is thrown away.
 *
 * A shape may follow from values (Reshape's second operand), so small tensors from outside are constants of the graph, which TensorFlow folds; large ones
 * are placeholders of their shape. No result of an op is ever in memory: a step's activations, all alive at once, would be the peak of a whole run.
 */
import { dims, type OpAttribute, setAttribute } from "./attributes.ts";
import type { CApi, GraphOutput, Pointer } from "./c-api.ts";
import { elementBytes } from "./dtypes.ts";

/** Bytes of the largest tensor whose values may determine a shape. */
const valueBytes = 1024;

/** Ops whose first `N` inputs are one list. */
const listOps = new Set(["AddN", "Concat", "ConcatV2", "Einsum", "Pack"]);

/** Adds an op's operands to the description of an operation. */
export function addOperands(
  c: CApi,
  description: Pointer,
  { name, attributes }: { readonly name: string; readonly attributes: readonly OpAttribute[] },
  operands: readonly GraphOutput[],
): void {
  const listed = listOps.has(name) ? Number(attributes.find((each) => each.name === "N")?.value) : 0;
  if (listed > 0) c.TF_AddInputList(description, operands.slice(0, listed), listed);
  for (const operand of operands.slice(listed)) c.TF_AddInput(description, operand);
}

export interface Described {
  /** undefined: the kernel's own affair, which only the gradient's kernel reads. */
  readonly shape: number[] | undefined;
  readonly dtype: number;
}

/** TensorFlow's shape functions leave it open. */
const isOpaque = (name: string, output: number): boolean => name === "FusedBatchNormV3" && output === 5;

export class ShapeGraph {
  readonly #c: CApi;
  readonly #graph: Pointer;
  readonly #values = new Map<number, GraphOutput>();
  #nodes = 0;

  constructor(c: CApi) {
    this.#c = c;
    this.#graph = c.TF_NewGraph();
  }

  /**
   * @param outputs ids for the op's results, from which later ops take them
   * @param handleOf of a tensor that no op of the graph has made
   * @returns undefined where a shape follows from values that only a computation would give
   * @throws BackendError OP_FAILED with TensorFlow's message
   */
  add(
    op: { readonly name: string; readonly attributes: readonly OpAttribute[] },
    inputs: readonly number[],
    outputs: readonly number[],
    handleOf: (id: number) => Pointer,
  ): Described[] | undefined {
    const c = this.#c;
    const operands = inputs.map((id) => this.#values.get(id) ?? this.#outside(id, handleOf(id)));
    const oper = this.#operation(op.name, (description) => {
      for (const attribute of op.attributes) setAttribute(c, "graph", description, attribute);
      addOperands(c, description, op, operands);
    });
    const described = outputs.map((id, index) => {
      const output = { oper, index };
      this.#values.set(id, output);
      return { shape: this.#shapeOf(op.name, output), dtype: c.TF_OperationOutputType(output) };
    });
    return described.every(({ shape }, index) => shape !== undefined || isOpaque(op.name, index))
      ? described
      : undefined;
  }

  dispose(): void {
    this.#c.TF_DeleteGraph(this.#graph);
  }

  #shapeOf(name: string, output: GraphOutput): number[] | undefined {
    const c = this.#c;
    const rank = c.TF_GraphGetTensorNumDims(this.#graph, output, c.status);
    const sizes = new BigInt64Array(Math.max(1, rank));
    if (rank > 0) c.TF_GraphGetTensorShape(this.#graph, output, sizes, rank, c.status);
    c.check(`the shape of ${name}`);
    const shape = Array.from(sizes.subarray(0, Math.max(0, rank)), Number);
    return rank >= 0 && shape.every((size) => size >= 0) ? shape : undefined;
  }

  #outside(id: number, handle: Pointer): GraphOutput {
    const c = this.#c;
    const dtype = c.TFE_TensorHandleDataType(handle);
    const rank = c.TFE_TensorHandleNumDims(handle, c.status);
    const shape = Array.from({ length: rank }, (_, index) => Number(c.TFE_TensorHandleDim(handle, index, c.status)));
    const bytes = shape.reduce((product, size) => product * size, elementBytes(dtype) ?? Number.POSITIVE_INFINITY);
    const isSmall = bytes <= valueBytes;
    const oper = this.#operation(isSmall ? "Const" : "Placeholder", (description) => {
      c.TF_SetAttrType(description, "dtype", dtype);
      if (!isSmall) return c.TF_SetAttrShape(description, "shape", dims(shape), rank);
      const tensor = c.TFE_TensorHandleResolve(handle, c.status);
      c.TF_SetAttrTensor(description, "value", tensor, c.status);
      c.TF_DeleteTensor(tensor);
    });
    const value = { oper, index: 0 };
    this.#values.set(id, value);
    return value;
  }

  #operation(type: string, fill: (description: Pointer) => void): Pointer {
    const c = this.#c;
    const description = c.TF_NewOperation(this.#graph, type, `${type}_${this.#nodes++}`);
    fill(description);
    const finished = c.TF_FinishOperation(description, c.status);
    c.check(type);
    return finished;
  }
}
