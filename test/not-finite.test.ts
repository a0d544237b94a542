/**
 * One picture of a dataset makes a step's loss or gradient not finite, once an epoch. What is done about it is the config's to say, and leaves the same bits in
 * every world, though one may go further back than another.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeSafetensors, type NamedTensor } from "@ringmaster/checkpoint";
import { createSampler, splitTrain } from "@ringmaster/data";
import t, { type Test } from "tap";
import { checkLedger } from "./harness/chaos-ledger.ts";
import { writeConfig } from "./harness/config-text.ts";
import { checkCode, checkNoStackTrace, run, succeed } from "./harness/ringmaster.ts";
import {
  checkpoint,
  checkpointFolder,
  learning,
  newestCheckpoint,
  smallConfig,
  testedAtEnd,
  workspace,
} from "./harness/run-files.ts";
import { named, set, upTo, type World } from "./harness/runs.ts";

const trainSamples = 235;
const lastStep = 15;
/** Of the training set: the picture that is blank. */
const blank = 26;

/** The small config with a blank picture, and another model. */
const poisoned = (model: string) => `import { defineTraining, imageDataset, tf } from "ringmaster";
import small from ${JSON.stringify(smallConfig)};

const { data } = small;
const darkest = (images) => tf.min(images, [1, 2, 3], true);
const brightest = (images) => tf.max(images, [1, 2, 3], true);

class Layer extends tf.layers.Layer {
  constructor(compute, args = {}) {
    super(args);
    this.compute = compute;
  }
  computeOutputShape(shape) {
    return shape;
  }
  call(inputs) {
    return this.compute(Array.isArray(inputs) ? inputs[0] : inputs);
  }
}
Layer.className = "Layer";

export default defineTraining({
  ...small,
  data: {
    ...data,
    async load() {
      const { train, ...dataset } = await data.load();
      train.images.fill(0, 144 * ${blank}, 144 * ${blank + 1});
      return imageDataset({ ...dataset, train });
    },
  },
  checkpoint: { everySteps: 2, keep: 100 },
  model: ({ imageShape, classes }) => tf.sequential({ layers: [${model}] }),
});
`;

/** A blank picture has no contrast to divide by: 0 / 0, in BatchNorm's moments too. */
const lossModel = `
  new Layer(
    (images) => tf.div(tf.sub(images, darkest(images)), tf.sub(brightest(images), darkest(images))),
    { inputShape: imageShape },
  ),
  tf.layers.conv2d({ filters: 8, kernelSize: 3, padding: "same" }),
  tf.layers.batchNormalization(),
  tf.layers.averagePooling2d({ poolSize: 2 }),
  tf.layers.flatten(),
  tf.layers.dropout({ rate: 0.25 }),
  tf.layers.dense({ units: classes }),
`;

/** A length of 0 has no derivative. */
const gradientModel = `
  new Layer((images) => tf.sub(images, darkest(images)), { inputShape: imageShape }),
  tf.layers.flatten(),
  tf.layers.dense({ units: classes, useBias: false }),
  new Layer((logits) => tf.add(logits, tf.sqrt(tf.sum(tf.square(logits), 1, true)))),
`;

const folder = workspace(t);
const [lossConfig, gradientConfig] = [
  writeConfig(folder, "loss", poisoned(lossModel)),
  writeConfig(folder, "gradient", poisoned(gradientModel)),
];

const worldArgs = ({ ranks, threads = 1 }: World) => ["--ranks", `${ranks}`, "--threads", `${threads}`];
const trainArgs = (config: string, name: string, world: World, ...more: string[]) => [
  ...["train", config, "--runs", folder, "--name", name, ...worldArgs(world), ...more],
];

/** Whose batches have the blank picture, counted from 1 as everything that a run says is. */
function poisonedSteps(run: string): number[] {
  const { seed, batchSize, seats, validation } = JSON.parse(readFileSync(join(run, "config.json"), "utf8")).config;
  const sampleIds = splitTrain(trainSamples, validation.count, seed).train;
  const { batch } = createSampler({ seed, sampleIds, batchSize, seats });
  return Array.from({ length: lastStep }, (_, index) => index + 1).filter((step) => batch(step - 1).includes(blank));
}

const once = (steps: readonly number[]): number[] => [...new Set(steps)];
const leftOutSteps = (stderr: string): number[] =>
  [...stderr.matchAll(/^step (\d+): .*its update is left out/gm)].map(([, step]) => Number(step));
const goingBack =
  /^step \d+: the loss is NaN \(.* not finite\); going back to the checkpoint of step (\d+), to leave this update out$/gm;

/** What was learnt; which steps are to be left out is part of a checkpoint's record and of its hash, and is not of interest here. */
const tensors = (run: string): NamedTensor[] =>
  ["model.safetensors", "optimizer.safetensors"].flatMap(
    (file) => decodeSafetensors(readFileSync(join(checkpointFolder(run, lastStep), file))).tensors,
  );

for (const [what, config, ranks, line] of [
  [
    "loss",
    lossConfig,
    2,
    /step \d+: the loss is NaN \(the gradients of conv2d\/kernel, .* are not finite\).*\[LOSS_NOT_FINITE\]$/m,
  ],
  [
    "gradient",
    gradientConfig,
    1,
    /step \d+: the gradient is not finite \(the gradients of dense\/kernel are not finite\).*\[GRADIENT_NOT_FINITE\]$/m,
  ],
] as const) {
  t.test(
    `a ${what} that is not finite ends the run, which names step and tensors, and keeps the last good checkpoint`,
    async (t) => {
      const name = `stop-${what}`;
      const folderOfRun = join(folder, name);
      // So that there is a checkpoint, however slow the disk.
      await succeed(t, trainArgs(config, name, { ranks }, ...upTo(2)));
      const ended = await run(t, ["resume", folderOfRun, ...worldArgs({ ranks }), ...upTo(lastStep)]);
      checkCode(t, ended, 1);
      checkNoStackTrace(t, ended);
      t.match(ended.stderr, line);
      const [first = 0] = poisonedSteps(folderOfRun);
      const newest = newestCheckpoint(folderOfRun);
      t.ok(newest >= 2 && newest < first, "the last checkpoint is of a step before", { newest, first });
      t.match(
        ended.stderr,
        new RegExp(`^the last checkpoint is of step ${newest}; go on with: npx ringmaster resume`, "m"),
      );
      const trained = learning(folderOfRun).filter((record) => record["type"] === "step");
      t.equal(trained.at(-1)?.["step"], first - 1, "no row of the step");
    },
  );
}

const worlds: readonly World[] = [{ ranks: 1 }, { ranks: 2 }, { ranks: 3, threads: 2 }];

/** Leaves the same bytes in every world. `check` is given what each run said. */
async function inEveryWorld(
  t: Test,
  mode: "skip" | "restore",
  check: (t: Test, run: string, stderr: string) => void,
): Promise<void> {
  for (const world of worlds) {
    await t.test(`on ${named(world)}`, async (t) => {
      const name = `${mode}-${world.ranks}`;
      const run = join(folder, name);
      // In two parts: so there is a checkpoint before the first such step, however slow the disk.
      await succeed(t, trainArgs(lossConfig, name, world, ...set("onNotFinite", mode), ...upTo(2)));
      const { stderr } = await succeed(t, ["resume", run, ...worldArgs(world), ...upTo(lastStep)]);
      check(t, run, stderr);
      t.same(once(leftOutSteps(stderr)), poisonedSteps(run), "it is said which updates are left out");
      t.equal(checkLedger(t, run, trainSamples), lastStep, "to the end");
      const reference = join(folder, `${mode}-1`);
      t.same(checkpoint(run, lastStep), checkpoint(reference, lastStep), "the same bytes");
      t.same(testedAtEnd(run, lastStep), testedAtEnd(reference, lastStep), "the same learning");
    });
  }
}

t.test('with "skip" its update is left out', async (t) => {
  await inEveryWorld(t, "skip", (t, _run, stderr) => t.notMatch(stderr, /back to/));
  const wrong = tensors(join(folder, "skip-1")).filter(({ data }) => !data.every(Number.isFinite));
  t.same(wrong, [], "what was learnt is finite");
});

t.test('with "restore" the run goes back for it, and leaves its update out when the step comes again', async (t) => {
  await inEveryWorld(t, "restore", (t, run, stderr) => {
    const back = [...stderr.matchAll(goingBack)].map(([, to]) => Number(to));
    const steps = poisonedSteps(run);
    t.equal(back.length, steps.length, "it goes back once for each");
    t.ok(
      back.every((to, index) => to >= 2 && to < (steps[index] ?? 0)),
      "to a checkpoint before it",
      { back, steps },
    );
  });
  t.same(tensors(join(folder, "restore-1")), tensors(join(folder, "skip-1")), "the same is learnt as with skip");
});
