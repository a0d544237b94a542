/**
 * Gradients of comparisons. They are constant wherever they have a derivative, as tfjs says of GreaterEqual alone; without one, whatever depends on a comparison
 * (`tf.where(tf.greater(x, 0), ...)`, tf.layers' ThresholdedReLU) could not be trained.
 */
import tf from "#tfjs";
import { some } from "./kernel-inputs.ts";

const zeros = (tensor: tf.Tensor | undefined) => () => tf.zeros(some(tensor).shape);

const ofTwo = ["Greater", "GreaterEqual", "Less", "LessEqual", "Equal", "NotEqual", "LogicalAnd", "LogicalOr"];

export const comparisonGradients: readonly tf.GradConfig[] = [
  ...ofTwo.map(
    (kernelName): tf.GradConfig => ({
      kernelName,
      inputsToSave: ["a", "b"],
      gradFunc: (_dy, [a, b]) => ({ a: zeros(a), b: zeros(b) }),
    }),
  ),
  { kernelName: "LogicalNot", inputsToSave: ["x"], gradFunc: (_dy, [x]) => ({ x: zeros(x) }) },
];
