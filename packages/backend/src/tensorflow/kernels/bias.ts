/** A bias over the last dimension, and its gradient: ops that Grappler fuses with what stands before them. */
import tf from "#tfjs";
import { some } from "../../ops/kernel-inputs.ts";
import { channelsLast, float, type ReplaceKernel } from "./kernel-registry.ts";

export function registerBias(replace: ReplaceKernel): void {
  replace("Add", (own) => (inputs, attrs, backend) => {
    const a = some(inputs["a"]);
    const b = some(inputs["b"]);
    const isBias = b.shape.length === 1 && a.shape.length >= 2 && a.shape.at(-1) === b.shape[0];
    if (!isBias || a.dtype !== "float32" || b.dtype !== "float32") return own(inputs, attrs, backend);
    return backend.executeSingleOutput("BiasAdd", [float, channelsLast], [a, b]);
  });

  // The gradient of a bias: the sum over all dimensions but the last.
  replace("Sum", (own) => (inputs, attrs, backend) => {
    const x = some(inputs["x"]);
    const axes = tf.util.parseAxisParam((attrs["axis"] ?? null) as number[], x.shape);
    const rank = x.shape.length;
    const isBiasGradient = rank >= 2 && axes.length === rank - 1 && !axes.includes(rank - 1);
    if (!isBiasGradient || attrs["keepDims"] || x.dtype !== "float32") return own(inputs, attrs, backend);
    return backend.executeSingleOutput("BiasAddGrad", [float, channelsLast], [x]);
  });
}
