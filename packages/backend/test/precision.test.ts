import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs";
import t from "tap";
import { requireBfloat16 } from "../src/cpu-features.ts";
import { cpuFeatures, openBackend, type Precision } from "../src/index.ts";
import { captureOver } from "./fixtures/captured-function.ts";

t.test("bfloat16 is refused where the CPU would compute in float32 and say nothing", async (t) => {
  for (const features of [["avx512_bf16"], ["avx2", "amx_bf16"]] as const)
    t.doesNotThrow(() => requireBfloat16(features));
  for (const features of [[], ["avx2", "avx512f"]] as const) {
    t.throws(() => requireBfloat16(features), {
      code: "PRECISION_UNSUPPORTED",
      message: /avx512_bf16 or amx_bf16, this one has/,
    });
  }
});

const features = cpuFeatures();
const hasBfloat16 = features.includes("avx512_bf16") || features.includes("amx_bf16");

t.test(
  "a product in bfloat16 is near the one in float32, and not it",
  { skip: hasBfloat16 ? false : "needs a CPU with avx512_bf16 or amx_bf16" },
  async (t) => {
    const backend = await openBackend({ backend: "tensorflow", device: "cpu" });
    const size = 64;
    const values = Float32Array.from({ length: size * size }, (_, i) => Math.fround(((i * 7919) % 1009) / 1009 - 0.5));
    const product = (precision: Precision): Float32Array => {
      const program = captureOver(
        backend,
        [{ shape: [size, size], values: [...values] }],
        ([x]) => [tf.matMul(x as tf.Tensor2D, x as tf.Tensor2D)],
        { precision },
      );
      const [result = new Float32Array()] = program.run();
      program.step.dispose();
      return result;
    };
    const exact = product("float32");
    const rounded = product("bfloat16");
    const norm = (of: Float32Array) => Math.sqrt(of.reduce((sum, value) => sum + value * value, 0));
    const difference = norm(exact.map((value, i) => value - (rounded[i] ?? Number.NaN))) / norm(exact);
    t.ok(difference > 0 && difference < 0.01, `relative difference ${difference}`);
    t.same(product("bfloat16"), rounded, "the same bits again");
  },
);

t.test("float16 is computed in float16 or refused: never in float32 in silence", async (t) => {
  const backend = await openBackend({ backend: "tensorflow", device: "cpu" });
  const product = () =>
    captureOver(
      backend,
      [{ shape: [2, 2], values: [1, 2, 3, 4] }],
      ([x]) => [tf.matMul(x as tf.Tensor2D, x as tf.Tensor2D)],
      {
        precision: "float16",
      },
    );
  const flags = readFileSync("/proc/cpuinfo", "utf8");
  if (/ (amx_fp16|avx_ne_convert)\b/.test(flags)) t.doesNotThrow(product);
  else t.throws(product, { code: "PRECISION_UNSUPPORTED", message: /float16 needs a GPU, or a CPU with amx_fp16/ });
});
