/** `ringmaster doctor` and the errors that say the same: what would train, why, and what to do. The cache is an empty one where nothing is to be found. */
import { join } from "node:path";
import t, { type Test } from "tap";
import { configText, writeConfig } from "./harness/config-text.ts";
import { checkCode, checkNoStackTrace, run } from "./harness/ringmaster.ts";
import { workspace } from "./harness/run-files.ts";

const folder = workspace(t);
const empty = { RINGMASTER_CACHE: join(folder, "cache") };
// Whatever this machine has, these processes see no GPU.
const noGpu = { CUDA_VISIBLE_DEVICES: "" };

interface Finding {
  readonly what: string;
  readonly found: string;
  readonly next?: string;
  readonly blocks?: boolean;
}

async function examine(t: Test, args: readonly string[], env: Record<string, string>, code: number) {
  const ended = await run(t, ["doctor", "--json", ...args], { env: { ...noGpu, ...env } });
  checkCode(t, ended, code);
  checkNoStackTrace(t, ended);
  const findings = JSON.parse(ended.stdout) as Finding[];
  return (what: string) => findings.find((finding) => finding.what.trim() === what);
}

t.test("doctor says what trains and with which numerics", async (t) => {
  const finding = await examine(t, [], {}, 0);
  t.match(finding("Node.js"), { found: process.version });
  t.match(finding("libtensorflow"), { found: /^2\.21\.0 in / });
  t.match(finding("trains on"), { found: /^the CPU: .+/, next: undefined });
  t.match(finding("fingerprint"), { found: /^tensorflow-cpu, 2\.21\.0, v\d+/ });
});

t.test("the same as text, a line each", async (t) => {
  const ended = await run(t, ["doctor", "--device", "cpu"], { env: noGpu });
  checkCode(t, ended, 0);
  t.match(ended.stdout, /^trains on {6}the CPU: the CPU is asked for$/m);
});

t.test("without libtensorflow the portable backend trains, and doctor says how to be faster", async (t) => {
  const finding = await examine(t, [], empty, 0);
  t.match(finding("libtensorflow"), { found: /^not in /, next: "npx ringmaster setup" });
  t.match(finding("trains on"), { found: /portable WebAssembly/, next: /npx ringmaster setup/ });
  t.match(finding("fingerprint"), { found: /^portable-cpu, / });
});

t.test("libtensorflow is asked for and not there: nothing trains", async (t) => {
  const finding = await examine(t, ["--backend", "tensorflow"], empty, 1);
  t.match(finding("trains on"), { found: /^nothing: libtensorflow/, next: /npx ringmaster setup/, blocks: true });
  t.equal(finding("fingerprint"), undefined);
});

t.test("a GPU that cannot be used: doctor and training give the same reason, and nothing trains", async (t) => {
  const config = writeConfig(folder, "gpu", configText());
  for (const device of ["gpu", "gpu:1"]) {
    const finding = await examine(t, ["--device", device], empty, 1);
    const { found = "", next = "" } = finding("trains on") ?? {};
    t.match(found, /^nothing: /);
    t.match(next, /./);
    for (const more of [[], ["--ranks", "2"]]) {
      const args = ["train", config, "--runs", join(folder, "runs"), "--device", device, ...more];
      const ended = await run(t, args, { env: { ...noGpu, ...empty } });
      checkCode(t, ended, 2);
      checkNoStackTrace(t, ended);
      t.match(ended.stderr, `${found.replace("nothing: ", "")}; ${next} [DEVICE_UNAVAILABLE]`);
    }
  }
});

t.test("a device that is none is refused", async (t) => {
  const ended = await run(t, ["doctor", "--device", "gpu:x"]);
  checkCode(t, ended, 2);
  t.match(ended.stderr, /gpu:x.*\[BAD_OPTION\]/);
});
