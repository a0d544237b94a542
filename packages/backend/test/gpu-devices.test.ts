import t from "tap";
import { chooseDevice, type DeviceFacts, findGpuObstacle, judgeDevice } from "../src/libtensorflow/choose-device.ts";
import type { CudaAnswer, Gpu } from "../src/libtensorflow/cuda-driver.ts";
import { type DevicePreference, parseDevice } from "../src/libtensorflow/device-preference.ts";
import { devicesOfRanks } from "../src/libtensorflow/devices-of-ranks.ts";
import { prepareGpuEnvironment } from "../src/libtensorflow/gpu-environment.ts";
import type { GpuFacts } from "../src/libtensorflow/gpu-facts.ts";
import type { LibtensorflowState } from "../src/libtensorflow/location.ts";

const gpu = (name: string, capability = "9.0"): Gpu => ({ name, capability, memoryBytes: 80 * 2 ** 30 });
const ready = (gpus: readonly Gpu[], cuda = "12.4"): CudaAnswer => ({ state: "ready", cuda, gpus });
const notFound = "libcuda.so.1: cannot open shared object file";
const absent: CudaAnswer = { state: "absent", reason: notFound };
const refused = (error: number, reason: string): CudaAnswer => ({ state: "refused", error, reason });

const cpuBuild: LibtensorflowState = { state: "installed", folder: "/c/cpu", libraries: "/c/cpu" };
const cudaBuild: LibtensorflowState = { state: "installed", folder: "/c/cuda", libraries: "/c/cuda/tensorflow" };
const missing: LibtensorflowState = { state: "missing", folder: "/c/none" };
const withoutCudnn: LibtensorflowState = {
  state: "damaged",
  folder: "/c/cuda",
  reason: "/c/cuda/nvidia/cudnn/lib/libcudnn.so.9: expected 9 bytes, found no file",
};
const damaged: LibtensorflowState = { state: "damaged", folder: "/c/cpu", reason: "/c/cpu/x.so: expected 2, found 1" };

/** Two GPUs, a driver that is new enough, both builds; then what differs. */
function facts(machine: Partial<GpuFacts> = {}, builds: Partial<DeviceFacts["builds"]> = {}): DeviceFacts {
  return {
    platform: "linux x64",
    builds: { cpu: cpuBuild, cuda: cudaBuild, ...builds },
    gpu: {
      onBus: 2,
      driver: "550.54.15",
      deviceFiles: ["/dev/nvidia0", "/dev/nvidia1"],
      visible: null,
      answer: ready([gpu("H100"), gpu("A100", "8.0")]),
      ...machine,
    },
  };
}
const bare: Partial<GpuFacts> = { onBus: 0, driver: null, deviceFiles: [], answer: absent };

const obstacles: Record<string, { facts: DeviceFacts; found: RegExp; next: RegExp }> = {
  "no GPU and no driver": { facts: facts(bare), found: /no NVIDIA GPU.*no NVIDIA driver/, next: /--device cpu/ },
  "a GPU without a driver": {
    facts: facts({ ...bare, onBus: 1 }),
    found: /one NVIDIA GPU on the PCI bus, but no NVIDIA driver/,
    next: /install NVIDIA's driver 525\.60\.13 or later/,
  },
  "a driver before CUDA 12": {
    facts: facts({ driver: "470.199.02" }),
    found: /driver 470\.199\.02 is too old/,
    next: /install NVIDIA's driver 525\.60\.13/,
  },
  "a driver one patch before the oldest": {
    facts: facts({ driver: "525.60.12" }),
    found: /525\.60\.12 is too old/,
    next: /./,
  },
  "a driver that tells nothing but its CUDA": {
    facts: facts({ driver: null, answer: ready([gpu("T4", "7.5")], "11.8") }),
    found: /too old: it knows CUDA 11\.8/,
    next: /install NVIDIA's driver/,
  },
  "a driver but no libcuda": {
    facts: facts({ answer: absent }),
    found: new RegExp(`driver 550\\.54\\.15 is loaded, its library is not here: ${notFound}`),
    next: /libcuda1.*docker run --gpus all/,
  },
  "a container without device files": {
    facts: facts({ deviceFiles: [], answer: refused(100, "CUDA_ERROR_NO_DEVICE") }),
    found: /there is no \/dev\/nvidia0/,
    next: /docker run --gpus all/,
  },
  "a driver that does not start": {
    facts: facts({ answer: refused(803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH") }),
    found: /does not start: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH/,
    next: /nvidia-smi/,
  },
  "GPUs that are hidden": {
    facts: facts({ visible: "", answer: refused(100, "CUDA_ERROR_NO_DEVICE") }),
    found: /CUDA_VISIBLE_DEVICES= hides every GPU/,
    next: /unset CUDA_VISIBLE_DEVICES/,
  },
  "GPUs hidden by a number that is none": {
    facts: facts({ visible: "7", answer: ready([]) }),
    found: /CUDA_VISIBLE_DEVICES=7 hides/,
    next: /unset/,
  },
  "a GPU before Pascal": {
    facts: facts({ answer: ready([gpu("GTX 980", "5.2")]) }),
    found: /too old for TensorFlow.*GTX 980.*5\.2/,
    next: /--device cpu/,
  },
  "the CPU build alone": {
    facts: facts({}, { cuda: missing }),
    found: /libtensorflow 2\.21\.0 for CUDA is not in \/c\/none/,
    next: /"npx ringmaster setup --gpu" to fetch it \(3\.\d GB/,
  },
  "a CUDA build without cuDNN": {
    facts: facts({}, { cuda: withoutCudnn }),
    found: /for CUDA is damaged: .*libcudnn\.so\.9: expected 9 bytes, found no file/,
    next: /"npx ringmaster setup --gpu" to fetch it again/,
  },
  "another platform": {
    facts: { ...facts(), platform: "darwin arm64" },
    found: /linux x64.*darwin arm64/,
    next: /--device cpu/,
  },
};
for (const [name, { facts, found, next }] of Object.entries(obstacles)) {
  t.test(`${name}: no GPU is used, with the reason and what to do`, async (t) => {
    t.match(findGpuObstacle(facts), { found, next });
    const code = facts.builds.cuda.state === "damaged" ? "LIBTENSORFLOW_DAMAGED" : "DEVICE_UNAVAILABLE";
    for (const preference of ["gpu", "gpu:0"] as const)
      t.match(judgeDevice(preference, facts), { verdict: "refuse", code, obstacle: { found, next } }, preference);
    const auto = judgeDevice("auto", facts);
    if (facts.builds.cuda.state === "damaged") t.match(auto, { verdict: "refuse", code, obstacle: { found, next } });
    else t.match(auto, { verdict: "use", device: { gpu: null, build: "cpu", reason: found } });
    t.match(judgeDevice("cpu", facts), { verdict: "use", device: { gpu: null, build: "cpu", libraries: "/c/cpu" } });
  });
}

t.test("nothing in the way: a GPU is used, on the CUDA build", async (t) => {
  t.equal(findGpuObstacle(facts()), null);
  const use = (preference: DevicePreference, given = facts()) => judgeDevice(preference, given);
  const first = { build: "cuda", libraries: "/c/cuda/tensorflow", gpu: { number: 0, name: "H100" } };
  t.match(use("auto"), { verdict: "use", device: { ...first, reason: "the first of 2 NVIDIA GPUs" } });
  t.match(use("gpu"), { verdict: "use", device: first });
  t.match(use("gpu:1"), { verdict: "use", device: { build: "cuda", gpu: { number: 1, name: "A100" } } });
  const mixed = facts({ answer: ready([gpu("GTX 980", "5.2"), gpu("T4", "7.5")]) });
  t.match(use("gpu", mixed), { device: { gpu: { number: 1, name: "T4" } } }, "one too old is passed over");
});

t.test("a GPU that is not there is refused, and those that are there are named", async (t) => {
  t.match(judgeDevice("gpu:3", facts()), {
    verdict: "refuse",
    code: "DEVICE_UNAVAILABLE",
    obstacle: { found: /gpu:3/, next: "use --device gpu:0 (H100) or --device gpu:1 (A100)" },
  });
});

t.test("what is computed on the CPU does not depend on the CUDA build", async (t) => {
  for (const cuda of [cudaBuild, missing, withoutCudnn]) {
    t.match(judgeDevice("cpu", facts({}, { cuda })), { verdict: "use", device: { build: "cpu", gpu: null } });
    t.match(judgeDevice("cpu", facts({}, { cuda, cpu: damaged })), {
      verdict: "refuse",
      code: "LIBTENSORFLOW_DAMAGED",
      obstacle: { found: /x\.so/, next: /"npx ringmaster setup" to fetch it again/ },
    });
  }
  t.match(judgeDevice("cpu", facts(bare, { cpu: missing })), {
    verdict: "use",
    device: { build: "cuda", libraries: "/c/cuda/tensorflow", gpu: null },
  });
});

t.test("without any build the command that fetches one is named", async (t) => {
  for (const preference of ["auto", "cpu"] as const)
    t.match(judgeDevice(preference, facts(bare, { cpu: missing, cuda: missing })), {
      verdict: "refuse",
      code: "LIBTENSORFLOW_MISSING",
      obstacle: { found: /libtensorflow 2\.21\.0 is not in/, next: /"npx ringmaster setup" to fetch it/ },
    });
});

t.test("device names", async (t) => {
  for (const name of ["auto", "cpu", "gpu", "gpu:0", "gpu:15"]) t.equal(parseDevice(name), name);
  for (const name of ["", "GPU", "gpu:", "gpu:-1", "gpu:01", "gpu:1.5", "gpu:1000", "gpu:1\n", "cpu:0", "tpu"])
    t.equal(parseDevice(name), undefined, JSON.stringify(name));
});

t.test("this process: a GPU that was asked for is used or refused with a reason", async (t) => {
  try {
    t.equal(chooseDevice("gpu:0").build, "cuda");
  } catch (error) {
    t.match(error, { name: "BackendError", message: /^device "gpu:0" cannot be used: .+; .+/ });
  }
});

t.test("one process a GPU", async (t) => {
  t.same(devicesOfRanks("gpu", 2, facts()), { devices: ["gpu:0", "gpu:1"], reason: null });
  t.same(devicesOfRanks("auto", 2, facts()), { devices: ["gpu:0", "gpu:1"], reason: null });
  t.same(devicesOfRanks("gpu:1", 1, facts()), { devices: ["gpu:1"], reason: null });
  t.same(devicesOfRanks("cpu", 3, facts()), { devices: ["cpu", "cpu", "cpu"], reason: null });
  t.same(devicesOfRanks("auto", 2, facts(bare)), { devices: ["auto", "auto"], reason: null });
  t.same(devicesOfRanks("gpu", 2, facts(bare)), { devices: ["gpu", "gpu"], reason: null }, "each is refused itself");
  const { devices, reason } = devicesOfRanks("auto", 3, facts());
  t.same(devices, ["cpu", "cpu", "cpu"]);
  t.match(reason, /3 ranks.*2 GPUs.*--ranks 2/);
  t.throws(() => devicesOfRanks("gpu", 3, facts()), {
    code: "DEVICE_UNAVAILABLE",
    message: /3 ranks.*2 GPUs.*--ranks 2/,
  });
  t.throws(() => devicesOfRanks("gpu:1", 2, facts()), {
    code: "DEVICE_UNAVAILABLE",
    message: /2 ranks.*one GPU.*--ranks 1/,
  });
});

t.test("kernels on a GPU are deterministic unless the user says otherwise", async (t) => {
  const env: NodeJS.ProcessEnv = {};
  t.same(prepareGpuEnvironment(env), { isDeterministic: true });
  t.equal(env["TF_DETERMINISTIC_OPS"], "1");
  const fast = { TF_DETERMINISTIC_OPS: "0" };
  t.same(prepareGpuEnvironment(fast), { isDeterministic: false });
  t.equal(fast.TF_DETERMINISTIC_OPS, "0");
});
