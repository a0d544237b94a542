/** Plain matrix products: tfjs multiplies matrices as batches of one. */
import tf from "#tfjs";
import { some } from "../../ops/kernel-inputs.ts";
import { flag, float, type ReplaceKernel } from "./kernel-registry.ts";

export function registerMatMul(replace: ReplaceKernel): void {
  replace("BatchMatMul", (own) => (inputs, attrs, backend) => {
    const a = some(inputs["a"]);
    const b = some(inputs["b"]);
    const ranksAre = (rank: number) => a.shape.length === rank && b.shape.length === rank;
    const batched = ranksAre(3) && a.shape[0] === 1 && b.shape[0] === 1;
    if (!(batched || ranksAre(2)) || a.dtype !== "float32" || b.dtype !== "float32") return own(inputs, attrs, backend);
    const matrix = (x: tf.TensorInfo) => (batched ? tf.reshape(x as tf.Tensor, x.shape.slice(1)) : x);
    const transposes = [
      flag("transpose_a", attrs["transposeA"] === true),
      flag("transpose_b", attrs["transposeB"] === true),
    ];
    const product = backend.executeSingleOutput("MatMul", [float, ...transposes], [matrix(a), matrix(b)]);
    return batched ? tf.reshape(product, [1, ...product.shape]) : product;
  });
}
