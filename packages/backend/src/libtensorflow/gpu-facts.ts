/** What this machine shows of NVIDIA GPUs and their driver, without starting TensorFlow. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { askCudaDriver, type CudaAnswer } from "./cuda-driver.ts";

export interface GpuFacts {
  /** NVIDIA GPUs on the PCI bus, whether or not they can be used. */
  readonly onBus: number;
  /** Version of the driver in the kernel, e.g. "550.54.15"; a container sees its host's. null: none is loaded. */
  readonly driver: string | null;
  /** Device files such as /dev/nvidia0, without which no GPU is reached. */
  readonly deviceFiles: readonly string[];
  /** `CUDA_VISIBLE_DEVICES`, if it is set. */
  readonly visible: string | null;
  readonly answer: CudaAnswer;
}

export interface GpuFactsOptions {
  /** Where the system's files are looked up. Default "/". */
  readonly root?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly ask?: () => CudaAnswer;
}

export function readGpuFacts({ root = "/", env = process.env, ask = askCudaDriver }: GpuFactsOptions = {}): GpuFacts {
  return {
    onBus: gpusOnBus(join(root, "sys/bus/pci/devices")),
    driver: driverVersion(join(root, "proc/driver/nvidia/version")),
    deviceFiles: list(join(root, "dev"))
      .filter((name) => /^nvidia\d+$/.test(name))
      .map((name) => `/dev/${name}`),
    visible: env["CUDA_VISIBLE_DEVICES"] ?? null,
    answer: ask(),
  };
}

/** PCI: the vendor NVIDIA, the class of displays (0x03), of which compute cards are a kind. */
const gpusOnBus = (devices: string): number =>
  list(devices).filter(
    (device) =>
      read(join(devices, device, "vendor")).startsWith("0x10de") &&
      read(join(devices, device, "class")).startsWith("0x03"),
  ).length;

/** "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54.03  Tue Jun ..." or "... Open Kernel Module for x86_64  550.54.15  Release ...". */
const driverVersion = (file: string): string | null =>
  /Kernel Module.*?\s(\d+\.\d+(?:\.\d+)*)\s/.exec(read(file))?.[1] ?? null;

const list = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder).sort() : []);

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
