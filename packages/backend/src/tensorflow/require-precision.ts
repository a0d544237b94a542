import tf from "#tfjs";
import { BackendError } from "../backend-error.ts";
import type { Device, Precision } from "../compute-backend.ts";
import { cpuFeatures, requireBfloat16 } from "../cpu-features.ts";
import { type Host, prepareProgram } from "./tensorflow-program.ts";

/**
 * TensorFlow leaves a graph in float32, and says nothing, where a device does not have another precision. So it is looked at: a product that is float32's to
 * the last bit was computed in float32.
 * @throws BackendError PRECISION_UNSUPPORTED
 */
export function requirePrecision(host: Host, device: Device, precision: Precision): void {
  if (device.kind === "cpu" && precision === "bfloat16") requireBfloat16();
  const exact = productIn(host, "float32");
  if (productIn(host, precision).some((value, index) => value !== exact[index])) return;
  const needed =
    precision === "float16" ? "a GPU, or a CPU with amx_fp16 or avx_ne_convert" : "a CPU with avx512_bf16 or amx_bf16";
  const found = device.kind === "gpu" ? device.name : `${device.name} (${cpuFeatures().join(", ")})`;
  throw new BackendError(
    "PRECISION_UNSUPPORTED",
    `${precision} needs ${needed}; ${found} would compute in float32 instead; train with precision "float32", or another that doctor names`,
  );
}

const side = 64;

function productIn(host: Host, precision: Precision): Float32Array {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const [operand, result] = [64, 64 + 4 * side * side];
  new Float32Array(memory.buffer, operand, side * side).forEach((_, index, values) => {
    values[index] = ((index * 7919) % 1009) / 1009 - 0.5;
  });
  const program = prepareProgram(host, {
    memory,
    feeds: [{ byteOffset: operand, shape: [side, side], dtype: "float32" }],
    body: ([x]) => [tf.matMul(x as tf.Tensor2D, x as tf.Tensor2D)],
    precision,
  });
  program.run({ outputs: [result], random: { seed: 0, step: 0, firstSlot: 0 } });
  program.dispose();
  return new Float32Array(memory.buffer, result, side * side).slice();
}
