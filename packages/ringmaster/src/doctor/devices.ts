/** What is there to compute on, what would be used, and why: findings from facts alone. */
import {
  type BackendPreference,
  type DeviceFacts,
  type DevicePreference,
  describeGpu,
  findMachineObstacle,
  judgeDevice,
  libtensorflowVersion,
} from "@ringmaster/backend";
import type { Finding } from "./finding.ts";

export interface Wanted {
  readonly backend: BackendPreference;
  readonly device: DevicePreference;
}

export function judgeDevices(wanted: Wanted, facts: DeviceFacts): Finding[] {
  return [gpus(wanted, facts), cpuBuild(facts), cudaBuild(facts), trainsOn(wanted, facts)];
}

function gpus({ device }: Wanted, facts: DeviceFacts): Finding {
  const { answer, driver, onBus } = facts.gpu;
  const obstacle = findMachineObstacle(facts);
  if (obstacle === null && answer.state === "ready") {
    const each = answer.gpus.map((gpu, number) => `gpu:${number} ${describeGpu(gpu)}`).join(", ");
    const version = driver === null ? "" : ` ${driver}`;
    return { what: "GPU", found: `${each}; NVIDIA driver${version} with CUDA ${answer.cuda}` };
  }
  const found = obstacle?.found ?? "none";
  // A machine without a GPU lacks nothing.
  const isExpected = device.startsWith("gpu") || onBus > 0 || driver !== null || answer.state !== "absent";
  return { what: "GPU", found, ...(isExpected && obstacle !== null && { next: obstacle.next }) };
}

function cpuBuild({ builds: { cpu, cuda } }: DeviceFacts): Finding {
  const what = "libtensorflow";
  if (cpu.state === "installed") return { what, found: `${libtensorflowVersion} in ${cpu.folder}` };
  const next = "npx ringmaster setup";
  if (cpu.state === "damaged") return { what, found: `damaged: ${cpu.reason}`, next };
  if (cuda.state === "installed") return { what, found: "for CUDA only, which computes on the CPU too" };
  return { what, found: `not in ${cpu.folder}`, next };
}

function cudaBuild(facts: DeviceFacts): Finding {
  const { cuda } = facts.builds;
  const what = "  for CUDA";
  if (cuda.state === "installed") return { what, found: `${libtensorflowVersion} in ${cuda.folder}` };
  const next = "npx ringmaster setup --gpu";
  if (cuda.state === "damaged") return { what, found: `damaged: ${cuda.reason}`, next };
  const isUseful = findMachineObstacle(facts) === null;
  return { what, found: "not installed: libtensorflow sees no GPU", ...(isUseful && { next }) };
}

function trainsOn({ backend, device }: Wanted, facts: DeviceFacts): Finding {
  const what = "trains on";
  if (backend === "portable" && !device.startsWith("gpu"))
    return { what, found: "the CPU with portable WebAssembly: it is asked for" };
  const judgement = judgeDevice(device, facts);
  if (judgement.verdict === "use") {
    const { gpu, reason } = judgement.device;
    return { what, found: `${gpu === null ? "the CPU" : `gpu:${gpu.number} ${gpu.name}`}: ${reason}` };
  }
  const { code, obstacle } = judgement;
  if (code === "LIBTENSORFLOW_MISSING" && backend === "auto") {
    const found = "the CPU with portable WebAssembly, several times slower: libtensorflow is not installed";
    return { what, found, next: obstacle.next };
  }
  return { what, found: `nothing: ${obstacle.found}`, next: obstacle.next, blocks: true };
}
