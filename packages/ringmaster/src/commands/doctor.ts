import { spawnSync } from "node:child_process";
import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import {
  type CpuFeature,
  cpuFeatures,
  findLibtensorflow,
  loadLibtensorflow,
  numericsFingerprint,
  openTensorflowBackend,
} from "@ringmaster/backend";
import { formatBytes } from "@ringmaster/telemetry";
import type { Command } from "commander";
import { exitCodes, explainError } from "../exit-codes.ts";

interface Finding {
  readonly what: string;
  readonly found: string;
  /** What to do, where something is missing. */
  readonly next?: string;
}

export function addDoctor(program: Command, exit: (code: number) => void): void {
  program
    .command("doctor")
    .description("say what this machine would train with, and what is missing")
    .option("--json", "print the findings as JSON")
    .action(async ({ json }: { json?: boolean }) => {
      const findings = await examine();
      const print = json ? `${JSON.stringify(findings)}\n` : findings.map(describe).join("");
      process.stdout.write(print);
      exit(findings.some(({ next }) => next !== undefined) ? exitCodes.failed : exitCodes.done);
    });
}

function describe({ what, found, next }: Finding): string {
  return `${what.padEnd(14)} ${found}\n${next === undefined ? "" : `${" ".repeat(15)}-> ${next}\n`}`;
}

async function examine(): Promise<Finding[]> {
  return [node(), cores(), memory(), python(), ...(await tensorflow())];
}

function node(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const isOld = major < 20 || (major === 20 && minor < 19);
  return {
    what: "Node.js",
    found: `${process.version} on ${process.platform} ${process.arch}`,
    ...(isOld && { next: "install Node.js 20.19 or later" }),
  };
}

function cores(): Finding {
  const model = cpus()[0]?.model.trim() ?? "unknown";
  const features = cpuFeatures();
  return {
    what: "CPU",
    found: `${model}, ${availableParallelism()} cores; ${features.join(" ") || "no known instruction sets"}; ${precisions(features)}`,
  };
}

function precisions(features: readonly CpuFeature[]): string {
  const hasBfloat16 = features.includes("avx512_bf16") || features.includes("amx_bf16");
  return hasBfloat16 ? "float32 and bfloat16" : "float32 (bfloat16 needs avx512_bf16 or amx_bf16)";
}

const memory = (): Finding => ({
  what: "memory",
  found: `${formatBytes(freemem())} free of ${formatBytes(totalmem())}`,
});

function python(): Finding {
  const { status, stdout } = spawnSync("python3", ["-m", "pip", "--version"], { encoding: "utf8" });
  if (status === 0) return { what: "pip", found: stdout.split(" from ")[0] ?? "" };
  // Only setup needs it.
  const isNeeded = findLibtensorflow().state !== "installed";
  return {
    what: "pip",
    found: "not found",
    ...(isNeeded && { next: "install Python 3 with pip (Debian: apt-get install python3-pip)" }),
  };
}

async function tensorflow(): Promise<Finding[]> {
  const state = findLibtensorflow();
  const what = "libtensorflow";
  if (state.state === "missing") return [{ what, found: `not in ${state.folder}`, next: "npx ringmaster setup" }];
  if (state.state === "damaged") return [{ what, found: state.reason, next: "npx ringmaster setup" }];
  try {
    const { version } = loadLibtensorflow();
    const backend = await openTensorflowBackend();
    const { kind, name } = backend.device;
    const why = kind === "cpu" ? " (this build of libtensorflow sees no GPU)" : "";
    const fingerprint = Object.values(numericsFingerprint(backend)).join(", ");
    return [
      { what, found: `${version} in ${state.folder}` },
      { what: "trains on", found: `${kind.toUpperCase()} ${name}${why}` },
      { what: "fingerprint", found: fingerprint },
    ];
  } catch (error) {
    return [{ what, found: explainError(error).message, next: "npx ringmaster setup" }];
  }
}
