import t from "tap";
import tf from "#tfjs";
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

t.test("a product in float16 rounds its operands to half precision, and overflows as it does", async (t) => {
  const backend = await openBackend({ backend: "tensorflow", device: "cpu" });
  const inputs = { shape: [2, 2], values: [1 + 2 ** -11, 1, 2049, 70_000] };
  const program = captureOver(backend, [inputs], ([x]) => [tf.matMul(x as tf.Tensor2D, tf.eye(2))], {
    precision: "float16",
  });
  const [found = new Float32Array()] = program.run();
  // The first lies between two numbers of half precision, and is rounded to the even one; so does 2049. The last is above 65,504; times 0 it is NaN.
  t.same([found[0], found[1]], [1, 1]);
  t.notOk(Number.isFinite(found[3]));
  t.equal(program.step.eagerBecause, null);
  program.step.dispose();
});
