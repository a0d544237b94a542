/** The machine as such: Node.js, the processor, memory, and pip, which set-up needs. */
import { spawnSync } from "node:child_process";
import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { type CpuFeature, cpuFeatures, hasFloat16 } from "@ringmaster/backend";
import { formatBytes } from "@ringmaster/telemetry";
import type { Finding } from "./finding.ts";

export function node(version = process.versions.node): Finding {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const isOld = major < 20 || (major === 20 && minor < 19);
  return {
    what: "Node.js",
    found: `v${version} on ${process.platform} ${process.arch}`,
    ...(isOld && { next: "install Node.js 20.19 or later", blocks: true }),
  };
}

export function processor(): Finding {
  const model = cpus()[0]?.model.trim() ?? "unknown";
  const features = cpuFeatures();
  return {
    what: "CPU",
    found: `${model}, ${availableParallelism()} cores; ${features.join(" ") || "no known instruction sets"}; ${precisions(features)}`,
  };
}

function precisions(features: readonly CpuFeature[]): string {
  const hasBfloat16 = features.includes("avx512_bf16") || features.includes("amx_bf16");
  const had = ["float32", ...(hasBfloat16 ? ["bfloat16"] : []), ...(hasFloat16(features) ? ["float16"] : [])];
  const lacks = [
    ...(hasBfloat16 ? [] : ["bfloat16 needs avx512_bf16 or amx_bf16"]),
    ...(hasFloat16(features) ? [] : ["float16 is emulated by rounding, without gain"]),
  ];
  return `${had.join(" and ")}${lacks.length > 0 ? ` (${lacks.join("; ")})` : ""}`;
}

export const memory = (): Finding => ({
  what: "memory",
  found: `${formatBytes(freemem())} free of ${formatBytes(totalmem())}`,
});

/** @param isNeeded whether something is left to set up */
export function pip(isNeeded: boolean): Finding {
  const { status, stdout } = spawnSync("python3", ["-m", "pip", "--version"], { encoding: "utf8" });
  if (status === 0) return { what: "pip", found: stdout.split(" from ")[0] ?? "" };
  return {
    what: "pip",
    found: "not found",
    ...(isNeeded && { next: "install Python 3 with pip (Debian: apt-get install python3-pip)" }),
  };
}
