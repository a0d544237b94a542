import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { findLibtensorflow, installLibtensorflow, openBackend } from "../src/index.ts";
import { cacheFolder, libraryFiles, receiptFile } from "../src/libtensorflow/location.ts";
import { loadLibtensorflow } from "../src/tensorflow/load-libtensorflow.ts";

const saved = { ...process.env };
t.afterEach(() => {
  for (const name of ["RINGMASTER_CACHE", "PATH", "PIP_INDEX_URL", "PIP_RETRIES"]) {
    if (saved[name] === undefined) delete process.env[name];
    else process.env[name] = saved[name];
  }
});

const cpuFolder = () => findLibtensorflow("cpu").folder;

/** A folder in the place of an installation, with libraries that are none, and a receipt. */
function pretend(cache: string, receipt: (sizes: Record<string, number>) => string): string {
  process.env["RINGMASTER_CACHE"] = cache;
  const folder = cpuFolder();
  mkdirSync(folder, { recursive: true });
  const bytes = 4096;
  for (const file of Object.values(libraryFiles)) writeFileSync(join(folder, file), Buffer.alloc(bytes, "x"));
  const sizes = Object.fromEntries(Object.values(libraryFiles).map((file) => [file, bytes]));
  writeFileSync(join(folder, receiptFile), receipt(sizes));
  return folder;
}

t.test("the cache is RINGMASTER_CACHE, else XDG_CACHE_HOME/ringmaster, else ~/.cache/ringmaster", async (t) => {
  t.equal(cacheFolder({ RINGMASTER_CACHE: "/a", XDG_CACHE_HOME: "/b" }), "/a");
  t.equal(cacheFolder({ RINGMASTER_CACHE: "", XDG_CACHE_HOME: "/b" }), "/b/ringmaster");
  t.match(cacheFolder({}), /^\/.*\/\.cache\/ringmaster$/);
  for (const build of ["cpu", "cuda"] as const) {
    const { folder } = findLibtensorflow(build, { RINGMASTER_CACHE: "/a" });
    t.match(folder, new RegExp(`^/a/tensorflow-${build}-[\\d.]+-linux-x64$`));
  }
});

t.test("an empty cache: nothing is loaded, and the command that fetches it is named", async (t) => {
  process.env["RINGMASTER_CACHE"] = t.testdir();
  t.match(findLibtensorflow(), { state: "missing", folder: cpuFolder() });
  const expected = {
    name: "BackendError",
    code: "LIBTENSORFLOW_MISSING",
    message: /libtensorflow [\d.]+ is not in .*; run "npx ringmaster setup" to fetch it \(\d+ MB/,
  };
  t.throws(() => loadLibtensorflow("cpu"), expected);
  await t.rejects(openBackend({ backend: "tensorflow", device: "cpu" }), expected);
});

t.test("an installation that was cut off before its receipt counts as missing", async (t) => {
  process.env["RINGMASTER_CACHE"] = t.testdir();
  mkdirSync(cpuFolder(), { recursive: true });
  for (const file of Object.values(libraryFiles)) writeFileSync(join(cpuFolder(), file), "x");
  t.throws(() => loadLibtensorflow("cpu"), { code: "LIBTENSORFLOW_MISSING" });
});

const receipts: Record<string, { receipt: (sizes: Record<string, number>) => string; reason: RegExp }> = {
  "a truncated library": {
    receipt: (sizes) => JSON.stringify({ ...sizes, [libraryFiles.cc]: 4097 }),
    reason: /libtensorflow_cc\.so\.2: expected 4097 bytes, found 4096/,
  },
  "a receipt that does not know a library": {
    receipt: (sizes) => JSON.stringify({ [libraryFiles.framework]: sizes[libraryFiles.framework] }),
    reason: /libtensorflow_cc\.so\.2: expected .*, found 4096/,
  },
  "a receipt that is no JSON": { receipt: () => "{", reason: /installed\.json is not JSON/ },
  "a receipt that is no object": { receipt: () => "null", reason: /expected .*, found 4096/ },
  "libraries of the right size that are no libraries": {
    receipt: (sizes) => JSON.stringify(sizes),
    reason: /could not load .*libtensorflow_framework\.so\.2: .+/,
  },
};
for (const [name, { receipt, reason }] of Object.entries(receipts)) {
  t.test(`${name}: damaged, says what and how to mend it`, async (t) => {
    const folder = pretend(t.testdir(), receipt);
    const expected = { name: "BackendError", code: "LIBTENSORFLOW_DAMAGED", message: reason };
    t.throws(() => loadLibtensorflow("cpu"), expected);
    t.throws(() => loadLibtensorflow("cpu"), {
      message: new RegExp(`${folder}.*run "npx ringmaster setup" to fetch it again`),
    });
    await t.rejects(openBackend({ backend: "tensorflow", device: "cpu" }), expected);
  });
}

t.test("a library that is gone is damage", async (t) => {
  pretend(t.testdir(), (sizes) => JSON.stringify({ ...sizes, [libraryFiles.cc]: 4096 }));
  rmSync(join(cpuFolder(), libraryFiles.cc));
  t.match(findLibtensorflow(), { state: "damaged", reason: /libtensorflow_cc.*expected 4096 bytes, found no file/ });
});

t.test("setup does nothing where libtensorflow is installed", async (t) => {
  const folder = pretend(t.testdir(), (sizes) => JSON.stringify(sizes));
  process.env["PATH"] = "";
  const lines: string[] = [];
  t.equal(await installLibtensorflow({ log: (line) => lines.push(line) }), folder);
  t.match(lines, [/already in/]);
});

t.test("setup without Python says what to install, and leaves nothing behind", async (t) => {
  process.env["RINGMASTER_CACHE"] = t.testdir();
  process.env["PATH"] = "";
  await t.rejects(installLibtensorflow({ log: () => {} }), {
    code: "SETUP_FAILED",
    message: /could not run python3 .*install Python 3 with pip/,
  });
  t.same(readdirSync(cacheFolder()), []);
});

t.test(
  "setup that cannot reach the index says what pip said, and leaves a damaged installation as it was",
  async (t) => {
    const folder = pretend(t.testdir(), () => "{");
    Object.assign(process.env, { PIP_INDEX_URL: "http://127.0.0.1:1/simple", PIP_RETRIES: "0" });
    await t.rejects(installLibtensorflow({ log: () => {} }), {
      code: "SETUP_FAILED",
      message: /python3 -m pip download ended with exit code 1: .+/,
    });
    t.same(readdirSync(cacheFolder()).length, 1, "no temporary folder stays");
    t.ok(existsSync(join(folder, receiptFile)));
  },
);
