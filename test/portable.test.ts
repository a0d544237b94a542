/**
 * The portable backend is taken where libtensorflow is not installed, or where it is asked for, and nowhere else; who trains is told which it was and why. It
 * computes the same bits whatever else is installed.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findLibtensorflow } from "@ringmaster/backend";
import t, { type Test } from "tap";
import { configText, exampleText, writeConfig } from "./harness/config-text.ts";
import { writeMnistFolder } from "./harness/idx-files.ts";
import { checkCode, checkNoStackTrace, type Ended, run, succeed } from "./harness/ringmaster.ts";
import { checkpoint, entriesOf, learning, smallConfig, workspace } from "./harness/run-files.ts";
import { Runs, set, upTo } from "./harness/runs.ts";

const folder = workspace(t);
// Whatever this machine has, these processes see no GPU.
const noGpu = { CUDA_VISIBLE_DEVICES: "" };
const without = { ...noGpu, RINGMASTER_CACHE: join(folder, "empty") };
const damaged = { ...noGpu, RINGMASTER_CACHE: join(folder, "damaged") };
const { folder: damagedFolder } = findLibtensorflow("cpu", damaged);
mkdirSync(damagedFolder, { recursive: true });
writeFileSync(join(damagedFolder, "installed.json"), "{}");

const tiny = writeConfig(folder, "tiny", configText());
const lastStep = 15;

/** Every progress line and the report name the portable backend. */
function checkIsPortable(t: Test, { stdout, stderr }: Ended): void {
  const progress = stderr.split("\n").filter((line) => line.startsWith("epoch "));
  t.ok(progress.length > 0);
  t.same(
    progress.filter((line) => !line.endsWith(", portable backend")),
    [],
    "each progress line says so",
  );
  t.match(stdout, /^on {10}.*, portable backend$/m, "the report says so");
  t.match(stdout, /^ +npx ringmaster train .*--backend portable/m, "so does the command that gives the same hash");
}

t.test("libtensorflow that is asked for is never replaced", async (t) => {
  const asking = writeConfig(folder, "asking", configText({ more: 'backend: "tensorflow",' }));
  const ways: readonly [how: string, ...args: string[]][] = [
    ["on the command line", tiny, "--backend", "tensorflow"],
    ["by --set", tiny, ...set("backend", "tensorflow")],
    ["in the config", asking],
  ];
  const damage = /damaged.*npx ringmaster setup.*\[LIBTENSORFLOW_DAMAGED\]$/m;
  const refusals: readonly [what: string, env: Record<string, string>, line: RegExp, ways: typeof ways][] = [
    ["is missing", without, /empty.*npx ringmaster setup.*\[LIBTENSORFLOW_MISSING\]$/m, ways],
    ["is damaged", damaged, damage, [["by nobody", tiny]]],
  ];
  for (const [what, env, line, askedFor] of refusals) {
    for (const [how, ...args] of askedFor) {
      for (const ranks of ["1", "2"]) {
        t.test(`${what}, asked for ${how}, on ${ranks} ranks`, async (t) => {
          const runs = join(folder, "refused");
          const ended = await run(t, ["train", ...args, "--runs", runs, "--ranks", ranks], { env });
          checkCode(t, ended, 2);
          checkNoStackTrace(t, ended);
          t.match(ended.stderr, line);
          t.equal(ended.stdout, "");
          t.same(entriesOf(runs), [], "there is no run");
          rmSync(runs, { recursive: true, force: true });
        });
      }
    }
  }
});

t.test("what was trained with libtensorflow is of use to the portable backend", async (t) => {
  const images = 300;
  const mnistFolder = await writeMnistFolder(join(folder, "mnist"), { train: 4000, test: images });
  const config = writeConfig(folder, "mnist", exampleText("train.config.ts", mnistFolder));
  const runs = new Runs(t, config, [...set("validation.count", 100), ...set("backend", "tensorflow")]);
  const trained = await runs.train({ ranks: 1, threads: 2 }, "trained", ...upTo(30));
  const portable = ["--backend", "portable", "--json"];

  t.test("evaluate gives its accuracy", async (t) => {
    const said = learning(trained).findLast((record) => record["split"] === "test");
    t.match(said, { samples: images });
    const { stdout } = await succeed(t, ["evaluate", trained, ...portable], { env: without });
    const evaluated = JSON.parse(stdout) as { loss: number; accuracy: number };
    t.ok(evaluated.accuracy > 0.5, "it has learnt something");
    for (const what of ["accuracy", "loss"] as const) {
      const [expected, found] = [Number(said?.[what]), evaluated[what]];
      t.ok(Math.abs(expected - found) < 1e-3, `${what} ${expected} and ${found}`);
    }
  });

  t.test("predict gives the same classes", async (t) => {
    const classes = async (backend: string) => {
      const file = join(mnistFolder, "t10k-images-idx3-ubyte");
      const { stdout } = await succeed(t, ["predict", trained, file, "--backend", backend, "--json"]);
      return stdout
        .trim()
        .split("\n")
        .map((line): unknown => Reflect.get(JSON.parse(line), "class"));
    };
    const expected = await classes("tensorflow");
    t.equal(expected.length, images);
    t.ok(new Set(expected).size > 5, "of several classes");
    t.same(await classes("portable"), expected);
  });
});

t.test("a run on the portable backend", async (t) => {
  const runs = new Runs(t, smallConfig);
  const asked = ["--backend", "portable"];
  const reference = await runs.train({ ranks: 1, threads: 2 }, "reference", ...asked);
  const bits = checkpoint(reference, lastStep);

  for (const ranks of [1, 2]) {
    t.test(`on ${ranks} ranks, for want of libtensorflow, says so and has the bits of one beside it`, async (t) => {
      const ended = await succeed(t, runs.trainArgs({ ranks }, `without-${ranks}`), { env: without });
      checkIsPortable(t, ended);
      const reasons = ended.stderr.split("\n").filter((line) => line.includes("libtensorflow is not in"));
      t.match(reasons, [/empty.*the portable backend.*"npx ringmaster setup"/], "the reason, and what to do, once");
      const run = runs.folderOf(`without-${ranks}`);
      t.match(readFileSync(join(run, "log.jsonl"), "utf8"), /libtensorflow is not in/, "and in the log");
      t.same(checkpoint(run, lastStep), bits);
    });
  }

  t.test("on two ranks, asked for by --set beside a damaged libtensorflow, has the same bits", async (t) => {
    const ended = await succeed(t, runs.trainArgs({ ranks: 2 }, "set", ...set("backend", "portable")), {
      env: damaged,
    });
    checkIsPortable(t, ended);
    t.same(checkpoint(runs.folderOf("set"), lastStep), bits);
  });

  t.test("stays on it when it is resumed on two ranks", async (t) => {
    const run = await runs.train({ ranks: 1 }, "resumed", ...asked, ...upTo(7));
    await runs.resume(run, { ranks: 2 }, ...upTo(lastStep));
    t.same(checkpoint(run, lastStep), bits);
  });

  t.test("has other bits than one on libtensorflow: the tests above can fail", async (t) => {
    const run = await runs.train({ ranks: 1, threads: 2 }, "tensorflow", "--backend", "tensorflow");
    t.not(checkpoint(run, lastStep)["model.safetensors"], bits["model.safetensors"]);
  });
});
