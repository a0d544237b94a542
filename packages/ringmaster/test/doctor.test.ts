import type { DeviceFacts } from "@ringmaster/backend";
import t from "tap";
import { judgeDevices, type Wanted } from "../src/doctor/devices.ts";
import { canTrain, describeFinding, type Finding } from "../src/doctor/finding.ts";
import { node } from "../src/doctor/machine.ts";

const gpu = (name: string) => ({ name, capability: "9.0", memoryBytes: 80 * 2 ** 30 });
const cpuBuild = { state: "installed", folder: "/c/cpu", libraries: "/c/cpu" } as const;
const cudaBuild = { state: "installed", folder: "/c/cuda", libraries: "/c/cuda/tensorflow" } as const;
const missing = { state: "missing", folder: "/c/none" } as const;
const noGpu: DeviceFacts["gpu"] = {
  onBus: 0,
  driver: null,
  deviceFiles: [],
  visible: null,
  answer: { state: "absent", reason: "libcuda.so.1: cannot open shared object file" },
};
const twoGpus: DeviceFacts["gpu"] = {
  onBus: 2,
  driver: "550.54.15",
  deviceFiles: ["/dev/nvidia0", "/dev/nvidia1"],
  visible: null,
  answer: { state: "ready", cuda: "12.4", gpus: [gpu("H100"), gpu("H200")] },
};
const plain: DeviceFacts = { platform: "linux x64", builds: { cpu: cpuBuild, cuda: missing }, gpu: noGpu };

interface Case {
  readonly wanted?: Partial<Wanted>;
  readonly facts?: Partial<DeviceFacts>;
  readonly canTrain: boolean;
  /** Of GPU, libtensorflow, for CUDA, trains on. */
  readonly findings: readonly [RegExp, RegExp, RegExp, RegExp];
  /** What is said to be done, in the same order. */
  readonly next?: readonly (RegExp | undefined)[];
}
const setUp = /npx ringmaster setup( |$|")/;
const setUpGpu = /npx ringmaster setup --gpu/;

const cases: Record<string, Case> = {
  "a machine without a GPU lacks nothing": {
    canTrain: true,
    findings: [/no NVIDIA GPU/, /in \/c\/cpu/, /not installed/, /the CPU: no NVIDIA GPU/],
  },
  "a GPU is asked for where none is": {
    wanted: { device: "gpu" },
    canTrain: false,
    findings: [/no NVIDIA GPU/, /in/, /not installed/, /nothing: no NVIDIA GPU/],
    next: [/--device cpu/, undefined, undefined, /--device cpu/],
  },
  "a GPU without a driver": {
    facts: { gpu: { ...noGpu, onBus: 1 } },
    canTrain: true,
    findings: [/one NVIDIA GPU on the PCI bus, but no NVIDIA driver/, /in/, /not installed/, /the CPU: one NVIDIA GPU/],
    next: [/install NVIDIA's driver/],
  },
  "a driver without its library": {
    facts: { gpu: { ...twoGpus, answer: noGpu.answer } },
    canTrain: true,
    findings: [/550\.54\.15 is loaded.*libcuda\.so\.1/, /in/, /not installed/, /the CPU: .*libcuda/],
    next: [/libcuda1/],
  },
  "a driver that is too old": {
    facts: { gpu: { ...twoGpus, driver: "470.86" } },
    canTrain: true,
    findings: [/470\.86 is too old/, /in/, /not installed/, /the CPU: .*too old/],
    next: [/525\.60\.13/],
  },
  "GPUs, but the CPU build alone": {
    facts: { gpu: twoGpus },
    canTrain: true,
    findings: [
      /gpu:0 H100 .*gpu:1 H200.*550\.54\.15 with CUDA 12\.4/,
      /in/,
      /not installed/,
      /the CPU: .*CUDA is not in/,
    ],
    next: [undefined, undefined, setUpGpu],
  },
  "GPUs, and a CUDA build that lacks cuDNN": {
    facts: {
      gpu: twoGpus,
      builds: { cpu: cpuBuild, cuda: { state: "damaged", folder: "/c/cuda", reason: "libcudnn.so.9: no file" } },
    },
    canTrain: false,
    findings: [/gpu:0/, /in/, /damaged: libcudnn\.so\.9/, /nothing: .*libcudnn\.so\.9/],
    next: [undefined, undefined, setUpGpu, setUpGpu],
  },
  "everything is there": {
    facts: { gpu: twoGpus, builds: { cpu: cpuBuild, cuda: cudaBuild } },
    canTrain: true,
    findings: [/gpu:0 H100/, /in \/c\/cpu/, /in \/c\/cuda/, /gpu:0 H100: the first of 2/],
  },
  "the fourth of two GPUs": {
    wanted: { device: "gpu:3" },
    facts: { gpu: twoGpus, builds: { cpu: cpuBuild, cuda: cudaBuild } },
    canTrain: false,
    findings: [/gpu:0/, /in/, /in/, /nothing: gpu:3/],
    next: [undefined, undefined, undefined, /--device gpu:0 \(H100\) or --device gpu:1 \(H200\)/],
  },
  "the CPU is asked for": {
    wanted: { device: "cpu" },
    facts: { gpu: twoGpus, builds: { cpu: cpuBuild, cuda: cudaBuild } },
    canTrain: true,
    findings: [/gpu:0/, /in/, /in/, /the CPU: the CPU is asked for/],
  },
  "nothing is set up": {
    facts: { builds: { cpu: missing, cuda: missing } },
    canTrain: true,
    findings: [
      /no NVIDIA GPU/,
      /not in \/c\/none/,
      /not installed/,
      /portable WebAssembly.*libtensorflow is not installed/,
    ],
    next: [undefined, setUp, undefined, setUp],
  },
  "nothing is set up, and libtensorflow is asked for": {
    wanted: { backend: "tensorflow" },
    facts: { builds: { cpu: missing, cuda: missing } },
    canTrain: false,
    findings: [/no NVIDIA GPU/, /not in/, /not installed/, /nothing: libtensorflow .* is not in/],
    next: [undefined, setUp, undefined, setUp],
  },
  "the portable backend is asked for": {
    wanted: { backend: "portable" },
    canTrain: true,
    findings: [/no NVIDIA GPU/, /in/, /not installed/, /portable WebAssembly: it is asked for/],
  },
  "a damaged libtensorflow is not worked around": {
    facts: { builds: { cpu: { state: "damaged", folder: "/c/cpu", reason: "cut off" }, cuda: missing } },
    canTrain: false,
    findings: [/no NVIDIA GPU/, /damaged: cut off/, /not installed/, /nothing: .*cut off/],
    next: [undefined, setUp, undefined, setUp],
  },
  "the CUDA build alone": {
    facts: { builds: { cpu: missing, cuda: cudaBuild } },
    canTrain: true,
    findings: [/no NVIDIA GPU/, /computes on the CPU too/, /in \/c\/cuda/, /the CPU/],
  },
};
for (const [name, { wanted, facts, findings, next = [], ...expected }] of Object.entries(cases)) {
  t.test(name, async (t) => {
    const found = judgeDevices({ backend: "auto", device: "auto", ...wanted }, { ...plain, ...facts });
    t.same(
      found.map(({ what }) => what.trim()),
      ["GPU", "libtensorflow", "for CUDA", "trains on"],
    );
    for (const [index, pattern] of findings.entries()) {
      t.match(found[index]?.found, pattern);
      const toDo = next[index];
      if (toDo === undefined) t.equal(found[index]?.next, undefined, `nothing to do about ${found[index]?.found}`);
      else t.match(found[index]?.next, toDo);
    }
    t.equal(canTrain(found), expected.canTrain);
  });
}

t.test("a finding is a line, and what to do a line below", async (t) => {
  const finding: Finding = { what: "GPU", found: "none", next: "buy one" };
  t.equal(describeFinding(finding), `GPU            none\n               -> buy one\n`);
});

t.test("an old Node.js stops training", async (t) => {
  for (const old of ["18.20.0", "20.18.3"]) t.match(node(old), { blocks: true, next: /20\.19/ }, old);
  for (const recent of ["20.19.0", "24.1.0"]) t.notOk("blocks" in node(recent), recent);
});
