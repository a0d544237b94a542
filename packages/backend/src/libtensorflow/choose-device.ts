/**
 * Which device trains, on which build of libtensorflow, and why: a judgement of facts, so that a table tests it and `doctor` says what training does. A GPU is
 * used where it is asked for or, with "auto", where nothing stands in its way; nobody who asked for one is given the CPU. What is computed on the CPU is
 * computed by the CPU build wherever that is installed.
 */
import { BackendError, type BackendErrorCode } from "../backend-error.ts";
import type { Gpu } from "./cuda-driver.ts";
import { type DevicePreference, gpuNumber, wantsGpu } from "./device-preference.ts";
import { type GpuFacts, type GpuFactsOptions, readGpuFacts } from "./gpu-facts.ts";
import { explainAbsence, findLibtensorflow, type LibtensorflowState } from "./location.ts";
import type { LibtensorflowBuild } from "./wheels.ts";

export interface DeviceFacts {
  /** E.g. "linux x64". */
  readonly platform: string;
  readonly builds: Readonly<Record<LibtensorflowBuild, LibtensorflowState>>;
  readonly gpu: GpuFacts;
}

export interface ChosenDevice {
  /** null: the CPU. A number is what TensorFlow's `visible_device_list` takes. */
  readonly gpu: { readonly number: number; readonly name: string } | null;
  readonly build: LibtensorflowBuild;
  /** Where the build's `libtensorflow_cc.so.2` lies. */
  readonly libraries: string;
  readonly reason: string;
}

/** Why something cannot be used, and what to do. */
export interface Obstacle {
  readonly found: string;
  readonly next: string;
}

export type DeviceJudgement =
  | { readonly verdict: "use"; readonly device: ChosenDevice }
  | { readonly verdict: "refuse"; readonly code: BackendErrorCode; readonly obstacle: Obstacle };

/** CUDA 12's first driver: https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html */
const oldestDriver = "525.60.13";
const oldestCuda = "12.0";
/** TensorFlow 2.21's wheel has no kernels for GPUs before Pascal. */
const oldestCapability = "6.0";

const newerDriver = `install NVIDIA's driver ${oldestDriver} or later (Debian: apt-get install nvidia-driver), restart the machine`;
const inContainer = "in a container: start it with GPUs (docker run --gpus all)";

const onTheCpu = "train on the CPU (--device cpu)";

/** Why libtensorflow cannot use a GPU here; null: nothing stands in the way. */
export function findGpuObstacle(facts: DeviceFacts): Obstacle | null {
  const { cuda } = facts.builds;
  return findMachineObstacle(facts) ?? (cuda.state === "installed" ? null : explainAbsence("cuda", cuda));
}

/** The same of the machine alone, whatever is installed of libtensorflow. */
export const findMachineObstacle = ({ platform, gpu }: DeviceFacts): Obstacle | null =>
  obstacleOnPlatform(platform) ?? obstacleInMachine(gpu);

const obstacleOnPlatform = (platform: string): Obstacle | null =>
  platform === "linux x64"
    ? null
    : { found: `libtensorflow for CUDA comes for linux x64; this machine is ${platform}`, next: onTheCpu };

function obstacleInMachine({ onBus, driver, deviceFiles, visible, answer }: GpuFacts): Obstacle | null {
  if (driver !== null && isOlder(driver, oldestDriver))
    return { found: `the NVIDIA driver ${driver} is too old for CUDA 12`, next: newerDriver };
  if (answer.state === "absent") {
    if (driver !== null) {
      const install = `install libcuda.so.1 of the driver's version (Debian: apt-get install libcuda1); ${inContainer}`;
      return {
        found: `the NVIDIA driver ${driver} is loaded, its library is not here: ${answer.reason}`,
        next: install,
      };
    }
    if (onBus === 0) return { found: "no NVIDIA GPU on the PCI bus and no NVIDIA driver", next: onTheCpu };
    return { found: `${count(onBus)} on the PCI bus, but no NVIDIA driver`, next: newerDriver };
  }
  if (answer.state === "refused") {
    const { error, reason } = answer;
    const name = `the NVIDIA driver${driver === null ? "" : ` ${driver}`}`;
    if (error === noDevice && visible !== null) return hidden(visible);
    if (error === noDevice && deviceFiles.length === 0)
      return { found: `${name} is loaded, but there is no /dev/nvidia0`, next: inContainer };
    return { found: `${name} does not start: ${reason}`, next: "run nvidia-smi to see what it says" };
  }
  if (isOlder(answer.cuda, oldestCuda))
    return { found: `the NVIDIA driver is too old: it knows CUDA ${answer.cuda}`, next: newerDriver };
  if (answer.gpus.length === 0)
    return visible === null ? { found: "the NVIDIA driver sees no GPU", next: inContainer } : hidden(visible);
  if (answer.gpus.every(isTooOld)) {
    const each = answer.gpus.map(describeGpu).join(", ");
    return { found: `too old for TensorFlow (compute capability ${oldestCapability}): ${each}`, next: onTheCpu };
  }
  return null;
}

const noDevice = 100;

const hidden = (visible: string): Obstacle => ({
  found: `CUDA_VISIBLE_DEVICES=${visible} hides every GPU`,
  next: "unset CUDA_VISIBLE_DEVICES, or name a GPU in it",
});

export function judgeDevice(preference: DevicePreference, facts: DeviceFacts): DeviceJudgement {
  if (preference === "cpu") return judgeCpu(facts, "the CPU is asked for");
  const obstacle = findMachineObstacle(facts);
  if (obstacle !== null) {
    if (!wantsGpu(preference)) return judgeCpu(facts, obstacle.found);
    return { verdict: "refuse", code: "DEVICE_UNAVAILABLE", obstacle };
  }
  const { cuda } = facts.builds;
  if (cuda.state !== "installed") {
    const { found, next } = explainAbsence("cuda", cuda);
    if (!wantsGpu(preference) && cuda.state === "missing") return judgeCpu(facts, found);
    const code = cuda.state === "missing" ? "DEVICE_UNAVAILABLE" : "LIBTENSORFLOW_DAMAGED";
    return { verdict: "refuse", code, obstacle: { found, next } };
  }
  const usable = usableGpus(facts);
  const wanted = gpuNumber(preference);
  const gpu = wanted === null ? usable[0] : usable.find(({ number }) => number === wanted);
  if (gpu === undefined) {
    const found = `gpu:${wanted} is none that TensorFlow can use`;
    const next = `use ${usable.map(({ number, name }) => `--device gpu:${number} (${name})`).join(" or ")}`;
    return { verdict: "refuse", code: "DEVICE_UNAVAILABLE", obstacle: { found, next } };
  }
  const reason = wantsGpu(preference) ? `${preference} is asked for` : `the first of ${count(usable.length)}`;
  const { number, name } = gpu;
  return {
    verdict: "use",
    device: { gpu: { number, name }, build: "cuda", libraries: cuda.libraries, reason },
  };
}

function judgeCpu({ builds }: DeviceFacts, reason: string): DeviceJudgement {
  // Damage is said, not worked around: the bits of a run must not depend on it.
  const order = builds.cpu.state === "missing" ? (["cuda", "cpu"] as const) : (["cpu"] as const);
  for (const build of order) {
    const found = builds[build];
    if (found.state === "installed")
      return { verdict: "use", device: { gpu: null, build, libraries: found.libraries, reason } };
    if (found.state === "damaged")
      return { verdict: "refuse", code: "LIBTENSORFLOW_DAMAGED", obstacle: explainAbsence(build, found) };
  }
  const missing = { state: "missing", folder: builds.cpu.folder } as const;
  return { verdict: "refuse", code: "LIBTENSORFLOW_MISSING", obstacle: explainAbsence("cpu", missing) };
}

export interface DeviceFactsOptions extends GpuFactsOptions {
  readonly platform?: string;
}

export function readDeviceFacts({
  platform = `${process.platform} ${process.arch}`,
  ...options
}: DeviceFactsOptions = {}): DeviceFacts {
  const { env } = options;
  return {
    platform,
    builds: { cpu: findLibtensorflow("cpu", env), cuda: findLibtensorflow("cuda", env) },
    gpu: readGpuFacts(options),
  };
}

/**
 * What trains in this process.
 * @throws BackendError DEVICE_UNAVAILABLE, LIBTENSORFLOW_MISSING, LIBTENSORFLOW_DAMAGED: the reason and what to do.
 */
export function chooseDevice(preference: DevicePreference): ChosenDevice {
  const judgement = judgeDevice(preference, readDeviceFacts());
  if (judgement.verdict === "use") return judgement.device;
  const { found, next } = judgement.obstacle;
  const asked = judgement.code === "DEVICE_UNAVAILABLE" ? `device "${preference}" cannot be used: ` : "";
  throw new BackendError(judgement.code, `${asked}${found}; ${next}`);
}

/** Those that TensorFlow has kernels for, with their numbers. */
export const usableGpus = ({ gpu: { answer } }: DeviceFacts): (Gpu & { readonly number: number })[] =>
  answer.state === "ready" ? answer.gpus.flatMap((gpu, number) => (isTooOld(gpu) ? [] : [{ ...gpu, number }])) : [];

export const describeGpu = ({ name, capability, memoryBytes }: Gpu): string =>
  `${name} (compute capability ${capability}, ${(memoryBytes / 2 ** 30).toFixed(1)} GiB)`;

const isTooOld = ({ capability }: Gpu): boolean => isOlder(capability, oldestCapability);

const count = (gpus: number): string => (gpus === 1 ? "one NVIDIA GPU" : `${gpus} NVIDIA GPUs`);

/** Of dotted versions, number by number. */
function isOlder(version: string, than: string): boolean {
  const [one, other] = [version, than].map((text) => text.split(".").map(Number));
  for (const [index, number] of (other ?? []).entries()) {
    const own = one?.[index] ?? 0;
    if (own !== number) return own < number;
  }
  return false;
}
