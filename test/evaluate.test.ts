/** What is made of a finished run: what evaluates its checkpoint agrees with what the run said at its end. */
import { join } from "node:path";
import t from "tap";
import { configText, modelText, writeConfig } from "./harness/config-text.ts";
import { writeIdxFolder } from "./harness/idx-files.ts";
import { checkCode, run as runCommand, succeed } from "./harness/ringmaster.ts";
import { learning, smallConfig, workspace } from "./harness/run-files.ts";

t.test("evaluate gives the loss and accuracy that the run gave, with any number of threads", async (t) => {
  const runs = workspace(t);
  await succeed(t, ["train", smallConfig, "--runs", runs, "--ranks", "2"]);
  const run = join(runs, "small");
  for (const [split, threads] of [
    ["test", "1"],
    ["test", "2"],
    ["validation", "2"],
  ] as const) {
    const said = learning(run).findLast((record) => record["split"] === split);
    const { stdout } = await succeed(t, ["evaluate", run, "--split", split, "--threads", threads, "--json"]);
    t.match(JSON.parse(stdout), { split, step: 15, loss: said?.["loss"], accuracy: said?.["accuracy"] });
  }
});

t.test("predict is right about as many test images as the run said", async (t) => {
  const runs = workspace(t);
  const test = 50;
  const label = (index: number) => (7 * index) % 10;
  const idx = writeIdxFolder(join(runs, "idx"), { train: 256, test, label });
  const config = writeConfig(
    runs,
    "idx",
    configText({
      data: `mnist({ folder: ${JSON.stringify(idx)} })`,
      model: modelText("imageShape", "tf.layers.dense({ units: classes })"),
      more: "epochs: 2,",
    }),
  );
  await succeed(t, ["train", config, "--runs", runs, "--name", "run"]);
  const run = join(runs, "run");
  const images = join(idx, "t10k-images-idx3-ubyte");
  const lines = (await succeed(t, ["predict", run, images, "--json"])).stdout.trim().split("\n");
  t.equal(lines.length, test, "a line for each image");
  const right = lines.filter((line, index) => Reflect.get(JSON.parse(line), "class") === String(label(index)));
  const said = learning(run).findLast((record) => record["split"] === "test");
  t.ok(right.length > 0, "some are right");
  t.equal(right.length / test, said?.["accuracy"]);
});

t.test("resume takes --device for itself: a GPU that is not there is an error, never a silent CPU run", async (t) => {
  const runs = workspace(t);
  await succeed(t, ["train", smallConfig, "--runs", runs, "--max-steps", "2"]);
  const ended = await runCommand(t, ["resume", join(runs, "small"), "--device", "gpu"]);
  checkCode(t, ended, 2);
  t.match(ended.stderr, /device "gpu" cannot be used: .*\[DEVICE_UNAVAILABLE\]/);
});
