/**
 * Keyed random numbers under XLA. Its own StatelessRandomUniformV2 and StatelessRandomNormalV2 make other numbers of Philox's words than TensorFlow's kernels do, and normal
 * ones that depend on how many are drawn at once, so on the seat and not on the slot. The words are the same: what the kernels make of them is spelled out here
 * (tensorflow/core/lib/random/random_distributions.h), equal to the bit for uniform numbers, to the last bits for normal ones.
 */
import type { Distribution } from "../keyed-random.ts";
import { attributeKinds, type OpAttribute } from "../libtensorflow/attributes.ts";
import { dataTypes } from "../libtensorflow/dtypes.ts";

/** Executes or records one op, whose only result is freed with the draws. */
export interface DrawOps {
  run(name: string, attributes: readonly OpAttribute[], inputs: readonly number[]): number;
  integers(value: number | readonly number[]): number;
  float(value: number): number;
}

const type = (name: string, value: number): OpAttribute => ({ name, type: attributeKinds.type, value });
const floats = type("T", dataTypes.float);
const integers = type("T", dataTypes.int32);
const index = type("Index", dataTypes.int32);

/** @param count even @returns the id of float32 [count] */
export function drawUnderXla(
  ops: DrawOps,
  distribution: Distribution,
  count: number,
  start: { readonly key: number; readonly counter: number; readonly algorithm: number },
): number {
  const float = (name: string, ...inputs: number[]) => ops.run(name, [floats], inputs);
  const shaped = (id: number, shape: readonly number[]) =>
    ops.run("Reshape", [floats, type("Tshape", dataTypes.int32)], [id, ops.integers(shape)]);

  const words = ops.run(
    "StatelessRandomUniformFullIntV2",
    [type("dtype", dataTypes.int32), type("Tshape", dataTypes.int32)],
    [ops.integers([count]), start.key, start.counter, ops.integers(start.algorithm)],
  );
  // 23 random bits as the fraction of a float in [1, 2), less 1.
  const fraction = ops.run("BitwiseAnd", [integers], [words, ops.integers(0x7fffff)]);
  const bits = ops.run("BitwiseOr", [integers], [fraction, ops.integers(0x3f800000)]);
  const fromOne = ops.run("Bitcast", [integers, type("type", dataTypes.float)], [bits]);
  const uniform = float("Sub", fromOne, ops.float(1));
  if (distribution === "uniform") return uniform;

  // Box and Muller, 1958: two normal numbers of each pair.
  const pairs = shaped(uniform, [count / 2, 2]);
  const column = (at: number) =>
    ops.run("Slice", [floats, index], [pairs, ops.integers([0, at]), ops.integers([count / 2, 1])]);
  const logarithm = float("Log", float("Maximum", column(0), ops.float(1e-7)));
  const radius = float("Sqrt", float("Mul", logarithm, ops.float(-2)));
  const angle = float("Mul", column(1), ops.float(2 * Math.PI));
  const both = ops.run(
    "ConcatV2",
    [{ name: "N", type: attributeKinds.int, value: 2 }, floats, type("Tidx", dataTypes.int32)],
    [float("Mul", float("Sin", angle), radius), float("Mul", float("Cos", angle), radius), ops.integers(1)],
  );
  return shaped(both, [count]);
}
