/**
 * float16 on a CPU without half-precision instructions: what a product of half-precision operands with float32 sums gives. Each operand of a convolution or a
 * product of matrices is rounded to half precision, overflows to infinity included, and the product itself is float32's.
 *
 * TensorFlow's own kernels for half precision take six to nine times as long on such a CPU; this takes about as long as float32. It is for trying out what a
 * GPU will do with a model, not for speed.
 */
import type { CApi, GraphOutput, Pointer } from "../libtensorflow/c-api.ts";
import { dataTypes } from "../libtensorflow/dtypes.ts";

/** Ops whose float operands are rounded, those that Grappler's mixed precision puts into half precision. */
const products = new Set([
  "BatchMatMul",
  "BatchMatMulV2",
  "Conv2D",
  "Conv2DBackpropFilter",
  "Conv2DBackpropInput",
  "Conv3D",
  "DepthwiseConv2dNative",
  "DepthwiseConv2dNativeBackpropFilter",
  "DepthwiseConv2dNativeBackpropInput",
  "Einsum",
  "MatMul",
]);

type Operation = (type: string, fill: (description: Pointer) => void) => Pointer;

/** @returns an op's operands as it is to read them; a value that several ops read is rounded once */
export function halfOperands(
  c: CApi,
  operation: Operation,
): (op: string, operands: readonly GraphOutput[]) => readonly GraphOutput[] {
  const rounded = new Map<string, GraphOutput>();
  const cast = (value: GraphOutput, from: number, to: number): GraphOutput => {
    const oper = operation("Cast", (description) => {
      c.TF_SetAttrType(description, "SrcT", from);
      c.TF_SetAttrType(description, "DstT", to);
      c.TF_AddInput(description, value);
    });
    return { oper, index: 0 };
  };
  const round = (value: GraphOutput): GraphOutput => {
    if (c.TF_OperationOutputType(value) !== dataTypes.float) return value;
    const key = `${value.oper}:${value.index}`;
    const known = rounded.get(key);
    if (known) return known;
    const half = cast(cast(value, dataTypes.float, dataTypes.half), dataTypes.half, dataTypes.float);
    rounded.set(key, half);
    return half;
  };
  return (op, operands) => (products.has(op) ? operands.map(round) : operands);
}
