import { readFileSync } from "node:fs";
import { BackendError } from "./backend-error.ts";

/** Instruction sets that libtensorflow's kernels choose between, as Linux names them. */
const known = [
  "avx2",
  "avx512f",
  "avx512_vnni",
  "avx512_bf16",
  "amx_bf16",
  "avx512_fp16",
  "amx_fp16",
  "avx_ne_convert",
] as const;
export type CpuFeature = (typeof known)[number];

/** Which of them this machine's CPU has; empty where Linux does not say. */
export function cpuFeatures(): readonly CpuFeature[] {
  try {
    const flags = new Set(/^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1]?.trim().split(" "));
    return known.filter((feature) => flags.has(feature));
  } catch {
    return [];
  }
}

/** Without these instructions TensorFlow has no fast kernel for half precision. */
export const hasFloat16 = (features: readonly CpuFeature[] = cpuFeatures()): boolean =>
  features.includes("amx_fp16") || features.includes("avx_ne_convert");

/**
 * Without these instructions bfloat16 is emulated, at a fraction of float32's speed.
 * @throws BackendError PRECISION_UNSUPPORTED
 */
export function requireBfloat16(features: readonly CpuFeature[] = cpuFeatures()): void {
  if (features.includes("avx512_bf16") || features.includes("amx_bf16")) return;
  const found = features.length > 0 ? features.join(", ") : "none of the known instruction sets";
  const advice = 'train with precision "float32"';
  throw new BackendError(
    "PRECISION_UNSUPPORTED",
    `bfloat16 needs a CPU with avx512_bf16 or amx_bf16, this one has ${found}; ${advice}`,
  );
}
