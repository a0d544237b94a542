/** A model that reads a value inside its step cannot be captured. It trains all the same, op by op, which is said once, with the op; its bits are the same in every world. */
import { join } from "node:path";
import { cpuFeatures } from "@ringmaster/backend";
import t from "tap";
import { startByHand, startWorker } from "./harness/by-hand.ts";
import { configText, writeConfig } from "./harness/config-text.ts";
import { checkCode, checkNoStackTrace, run, succeed } from "./harness/ringmaster.ts";
import { checkpoint, learning, workspace } from "./harness/run-files.ts";
import { named, set, upTo, type World } from "./harness/runs.ts";

const folder = workspace(t);
const steps = 12;
const model = `({ classes }) => functionModel({
    parameters: { kernel: tf.randomNormal([64, classes], 0, 0.1), bias: tf.zeros([classes]) },
    apply(images, { kernel, bias }) {
      const pixels = tf.reshape(images, [-1, 64]);
      const [brightest] = tf.max(tf.abs(pixels)).dataSync();
      return tf.add(tf.matMul(tf.mul(pixels, 1 / (1 + brightest)), kernel), bias);
    },
  })`;
const config = writeConfig(
  folder,
  "reading",
  configText({ model, more: "epochs: 6, seats: 4, optimizer: sgd({ learningRate: 0.1 })," }),
);
const note = /steps run op by op/g;

const args = (name: string, { ranks, threads = 1 }: World, ...more: string[]) => [
  ...["train", config, "--runs", folder, "--name", name, "--ranks", `${ranks}`, "--threads", `${threads}`],
  ...["--backend", "tensorflow", ...upTo(steps), ...more],
];

t.test("it trains, and it is said once what makes it slow", async (t) => {
  const { stderr } = await succeed(t, args("reference", { ranks: 1 }));
  t.match(stderr, /^note: steps run op by op, .*: a result of Max is read into JavaScript/m);
  t.equal(stderr.match(note)?.length, 1);
  const trained = learning(join(folder, "reference")).filter((record) => record["type"] === "step");
  t.ok(Number(trained.at(-1)?.["loss"]) < Number(trained[0]?.["loss"]), "it learns");
});

for (const world of [{ ranks: 1, threads: 2 }, { ranks: 2 }]) {
  t.test(`on ${named(world)} it says so once and leaves the same bytes`, async (t) => {
    const name = `on-${world.ranks}`;
    const { stderr } = await succeed(t, args(name, world));
    t.equal(stderr.match(note)?.length, 1);
    t.same(checkpoint(join(folder, name), steps), checkpoint(join(folder, "reference"), steps));
  });
}

t.test("it is said too where one rank of two does, whichever joined first", async (t) => {
  const coordinatorArgs = ["--runs", folder, "--name", "mixed", ...upTo(2)];
  const { coordinator, ...door } = await startByHand(t, config, { ranks: 2, workers: 0, args: coordinatorArgs });
  startWorker(t, config, door, "--backend", "portable");
  await coordinator.line(/^worker 1 of 2 joined/);
  startWorker(t, config, door, "--backend", "tensorflow");
  const ended = await coordinator.ended;
  checkCode(t, ended, 0);
  t.equal(ended.stderr.match(note)?.length, 1);
});

t.test("the portable backend runs every model so, and says nothing of it", async (t) => {
  const { stderr } = await succeed(t, args("portable", { ranks: 1 }, "--backend", "portable"));
  t.notMatch(stderr, note);
});

const features = cpuFeatures();
const hasBfloat16 = features.includes("avx512_bf16") || features.includes("amx_bf16");
const inBfloat16 = { skip: hasBfloat16 ? false : "bfloat16 needs a CPU with avx512_bf16 or amx_bf16" };
for (const ranks of [1, 2]) {
  t.test(`in bfloat16, which needs captured steps, it is refused on ${ranks} ranks`, inBfloat16, async (t) => {
    const ended = await run(t, args(`bfloat16-${ranks}`, { ranks }, ...set("precision", "bfloat16")));
    checkCode(t, ended, 2);
    checkNoStackTrace(t, ended);
    t.match(ended.stderr, /a result of Max is read .*\[PRECISION_UNSUPPORTED\]$/m);
    t.equal(ended.stdout, "");
  });
}
