/** Einsum, which tfjs's wasm backend lacks. */
import type tf from "#tfjs";
import { composedEinsum } from "../ops/einsum.ts";
import type { Register } from "./kernel-registry.ts";

export function registerEinsum(register: Register): void {
  register(
    "Einsum",
    () =>
      (inputs, { equation }) =>
        composedEinsum(String(equation), Object.values(inputs) as tf.Tensor[]),
  );
}
