import type tf from "#tfjs";

export function some<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new TypeError("a kernel was called without one of its inputs");
  return value;
}

/** The gradient of an op's first output. */
export const one = (tensor: tf.Tensor | tf.Tensor[]): tf.Tensor => (Array.isArray(tensor) ? some(tensor[0]) : tensor);
