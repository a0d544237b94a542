/** How a build of several wheels is installed: with real wheels, small ones, that pip takes from a folder. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { explainLackOfSpace, installBuild } from "../src/libtensorflow/install.ts";
import { findBuild } from "../src/libtensorflow/location.ts";
import { type Build, builds, type Wheel } from "../src/libtensorflow/wheels.ts";

const saved = { ...process.env };
const changed = ["RINGMASTER_CACHE", "PIP_NO_INDEX", "PIP_FIND_LINKS"];
t.afterEach(() => {
  for (const name of changed) {
    if (saved[name] === undefined) delete process.env[name];
    else process.env[name] = saved[name];
  }
});

const contents: Record<string, Record<string, string>> = {
  "ring-test-tensorflow": {
    "tensorflow/libtensorflow_framework.so.2": "framework",
    "tensorflow/libtensorflow_cc.so.2": "cc",
    "tensorflow/python/other.so": "not taken",
  },
  "ring-test-nvidia": {
    "nvidia/cuda_nvrtc/lib/libnvrtc.so.12": "compiler",
    "nvidia/cuda_nvrtc/include/nvrtc.h": "not taken",
    "nvidia/cuda_nvcc/bin/ptxas": "program",
    "nvidia/cuda_nvcc/nvvm/libdevice/libdevice.10.bc": "bits",
  },
};

/** Writes the wheels and returns a build of them. */
function makeBuild(t: Test): { build: Build; wheelhouse: string; cache: string } {
  const folder = t.testdir();
  const [wheelhouse, cache] = [join(folder, "wheelhouse"), join(folder, "cache")];
  mkdirSync(wheelhouse);
  const script = `
import json, sys, zipfile
for name, files in json.loads(sys.argv[1]).items():
    title = name.replace("-", "_") + "-1.0"
    with zipfile.ZipFile(sys.argv[2] + "/" + title + "-py3-none-any.whl", "w") as wheel:
        for path, text in files.items(): wheel.writestr(path, text)
        wheel.writestr(title + ".dist-info/METADATA", "Metadata-Version: 2.1\\nName: " + name + "\\nVersion: 1.0\\n")
        wheel.writestr(title + ".dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(title + ".dist-info/RECORD", "")
`;
  execFileSync("python3", ["-c", script, JSON.stringify(contents), wheelhouse]);
  const wheels = Object.keys(contents).map((name): Wheel => {
    const bytes = readFileSync(join(wheelhouse, fileOf(name)));
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return { package: name, version: "1.0", sha256, bytes: bytes.length, unpackedBytes: 100 };
  });
  Object.assign(process.env, { RINGMASTER_CACHE: cache, PIP_NO_INDEX: "1", PIP_FIND_LINKS: wheelhouse });
  return { build: { ...builds.cuda, folder: "test-build", wheels }, wheelhouse, cache };
}
const fileOf = (name: string) => `${name.replaceAll("-", "_")}-1.0-py3-none-any.whl`;

/** @returns what was said. */
async function install(build: Build): Promise<string[]> {
  const lines: string[] = [];
  await installBuild(build, { log: (line) => lines.push(line) });
  return lines;
}

t.test("wheels are laid out beside each other, with the libraries alone, and the installation is found", async (t) => {
  const { build, cache } = makeBuild(t);
  const lines = await install(build);
  const folder = join(cache, "test-build");
  t.same(findBuild(build), { state: "installed", folder, libraries: join(folder, "tensorflow") });
  t.same(readdirSync(join(folder, "tensorflow")).sort(), ["libtensorflow_cc.so.2", "libtensorflow_framework.so.2"]);
  t.same(readdirSync(join(folder, "nvidia/cuda_nvrtc")), ["lib"]);
  t.equal(readlinkSync(join(folder, "nvidia/nvrtc")), "cuda_nvrtc");
  t.equal(readFileSync(join(folder, "nvidia/nvrtc/lib/libnvrtc.so.12"), "utf8"), "compiler");
  t.ok(statSync(join(folder, "nvidia/cuda_nvcc/bin/ptxas")).mode & 0o100, "programs can be executed");
  t.same(readdirSync(cache), ["test-build"], "nothing temporary stays");
  t.same(readdirSync(folder).sort(), ["installed.json", "nvidia", "tensorflow"]);
  t.match(
    lines.join("\n"),
    /fetching \d+ MB.*of disk in .*test-build\n1 of 2: .*\n2 of 2: .*nvidia 1\.0.*\n.*ready in/,
  );
  t.match(await install(build), [/already in/]);

  rmSync(join(folder, "nvidia/cuda_nvrtc/lib/libnvrtc.so.12"));
  t.match(findBuild(build), { state: "damaged", reason: /libnvrtc\.so\.12: expected 8 bytes, found no file/ });
});

t.test("a wheel whose bytes are not those that are known is refused", async (t) => {
  const { build, cache } = makeBuild(t);
  const wheels = build.wheels.map((wheel) => ({ ...wheel, sha256: "0".repeat(64) }));
  await t.rejects(install({ ...build, wheels }), {
    code: "SETUP_FAILED",
    message: /pip download ended with exit code 1/,
  });
  t.same(readdirSync(cache), []);
});

t.test("an installation that was cut off goes on with the wheels that are not there whole", async (t) => {
  const { build, wheelhouse, cache } = makeBuild(t);
  const last = join(wheelhouse, fileOf("ring-test-nvidia"));
  renameSync(last, `${last}.away`);
  await t.rejects(install(build), {
    code: "SETUP_FAILED",
    message: /1 of 2 wheels are kept: "npx ringmaster setup --gpu" goes on with the others/,
  });
  t.equal(findBuild(build).state, "missing", "what is not whole is no installation");
  renameSync(`${last}.away`, last);

  // As if a process that is gone had left it, and a wheel's files had not all reached the disk.
  const [left = ""] = readdirSync(cache);
  const parts = JSON.parse(readFileSync(join(cache, left, "parts.json"), "utf8"));
  const cutOff = { ...parts, [build.wheels[1]?.sha256 ?? ""]: { "nvidia/cuda_nvcc/bin/ptxas": 7 } };
  writeFileSync(join(cache, left, "parts.json"), JSON.stringify(cutOff));
  renameSync(join(cache, left), join(cache, "test-build.tmp-4194305"));
  rmSync(join(wheelhouse, fileOf("ring-test-tensorflow")));
  mkdirSync(join(cache, "test-build.tmp-1"));

  const lines = await install(build);
  t.match(lines, [/1 of 2 wheels are here from before/, /^2 of 2: ring-test-nvidia/, /ready in/]);
  t.equal(findBuild(build).state, "installed");
  t.same(readdirSync(cache).sort(), ["test-build", "test-build.tmp-1"], "process 1 lives: its folder is left alone");
});

t.test("a disk that is too full is said before anything is fetched", async (t) => {
  const { wheels } = builds.cuda;
  t.equal(explainLackOfSpace(wheels, 1e12, "/cache", "setup"), null);
  t.equal(explainLackOfSpace([], 0, "/cache", "setup"), null, "nothing is missing");
  t.equal(
    explainLackOfSpace(wheels, 3e9, "/cache", "npx ringmaster setup --gpu"),
    "expected 6.7 GB of free disk in /cache, found 3.0 GB; free some, or choose another place: " +
      "RINGMASTER_CACHE=FOLDER npx ringmaster setup --gpu",
  );
});

t.test("every wheel is pinned by its hash, once", async (t) => {
  const wheels = Object.values(builds).flatMap((build) => build.wheels);
  for (const { package: name, sha256, version } of wheels) {
    t.match(sha256, /^[0-9a-f]{64}$/, name);
    t.match(version, /^\d+(\.\d+)+$/, name);
  }
  t.equal(new Set(wheels.map(({ sha256 }) => sha256)).size, wheels.length);
});
