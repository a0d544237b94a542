import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { readDeviceFacts } from "../src/libtensorflow/choose-device.ts";
import { askCudaDriver } from "../src/libtensorflow/cuda-driver.ts";
import { readGpuFacts } from "../src/libtensorflow/gpu-facts.ts";

const absent = { state: "absent", reason: "not asked" } as const;
const look = (root: string, env = {}) => readGpuFacts({ root, env, ask: () => absent });

t.test("an empty machine has nothing", async (t) => {
  t.same(look(t.testdir()), { onBus: 0, driver: null, deviceFiles: [], visible: null, answer: absent });
});

const versionFiles = {
  "535.54.03":
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54.03  Tue Jun  6 22:20:39 UTC 2023\nGCC version:  gcc 12\n",
  "550.54.15":
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build  (root@host)\nGCC version: 13.2.0\n",
  "470.86": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.86  Tue Oct 26 21:55:45 UTC 2021\n",
};
for (const [version, text] of Object.entries(versionFiles)) {
  t.test(`the driver's version is read: ${version}`, async (t) => {
    t.equal(look(t.testdir({ proc: { driver: { nvidia: { version: text } } } })).driver, version);
  });
}

t.test("a version file that is not understood is no driver", async (t) => {
  t.equal(look(t.testdir({ proc: { driver: { nvidia: { version: "something else 1\n" } } } })).driver, null);
});

t.test("GPUs on the bus, device files and what is visible", async (t) => {
  const device = (vendor: string, kind: string) => ({ vendor: `${vendor}\n`, class: `${kind}\n` });
  const root = t.testdir({
    sys: {
      bus: {
        pci: {
          devices: {
            "0000:01:00.0": device("0x10de", "0x030000"),
            "0000:02:00.0": device("0x10de", "0x030200"),
            "0000:01:00.1": device("0x10de", "0x040300"),
            "0000:03:00.0": device("0x8086", "0x030000"),
            "0000:04:00.0": {},
          },
        },
      },
    },
    dev: { nvidia0: "", nvidia10: "", nvidiactl: "", "nvidia-uvm": "", null: "" },
  });
  t.match(look(root, { CUDA_VISIBLE_DEVICES: "1" }), {
    onBus: 2,
    deviceFiles: ["/dev/nvidia0", "/dev/nvidia10"],
    visible: "1",
  });
});

t.test("a driver library that is not there, or is none, is absent, with the system's reason", async (t) => {
  t.match(askCudaDriver("libcuda-of-no-machine.so.1"), { state: "absent", reason: /libcuda-of-no-machine/ });
  const file = join(t.testdir(), "libcuda.so.1");
  writeFileSync(file, "text");
  t.match(askCudaDriver(file), { state: "absent", reason: /libcuda\.so\.1/ });
});

t.test("the facts of this machine can be read", async (t) => {
  t.match(readDeviceFacts(), { platform: `${process.platform} ${process.arch}`, gpu: { answer: { state: String } } });
});

const skip = spawnSync("cc", ["--version"]).status === 0 ? false : "needs a C compiler (cc)";

/** A library with the driver's functions and two GPUs, or an error; it is compiled, because what is tested is how a library is called. */
function compileDriver(t: Test, error: number): string {
  const file = join(t.testdir(), `libcuda-${error}.so.1`);
  // From the package's folder, where tests run: those that were built too, and it is not beside them.
  const source = join("test", "fixtures", "cuda-driver.c");
  execFileSync("cc", ["-shared", "-fPIC", `-DERROR=${error}`, "-o", file, source], { stdio: "pipe" });
  return file;
}

t.test("a driver library's answers are read", { skip }, async (t) => {
  t.same(askCudaDriver(compileDriver(t, 0)), {
    state: "ready",
    cuda: "12.4",
    gpus: [
      { name: "Stand-in 0", capability: "9.0", memoryBytes: 85_899_345_920 },
      { name: "Stand-in 1", capability: "8.6", memoryBytes: 25_769_803_776 },
    ],
  });
});

t.test("a driver library that does not start says its error's name", { skip }, async (t) => {
  t.same(askCudaDriver(compileDriver(t, 100)), { state: "refused", error: 100, reason: "CUDA_ERROR_NO_DEVICE" });
});
