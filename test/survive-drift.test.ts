/** A rank whose memory goes bad: its state drifts from that of the others, is found, and does not stay in the run. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { startByHand } from "./harness/by-hand.ts";
import { checkLedger } from "./harness/chaos-ledger.ts";
import { canWriteMemory, flipBit } from "./harness/chaos-memory.ts";
import { RunWatch } from "./harness/chaos-watch.ts";
import { writeConfig } from "./harness/config-text.ts";
import { checkCode, checkNoStackTrace, succeed } from "./harness/ringmaster.ts";
import { checkpoint, checkpointFolder, checkpointSteps, newestCheckpoint, workspace } from "./harness/run-files.ts";
import { set, upTo } from "./harness/runs.ts";

const trainSamples = 64;
/** Its weights are those of the seed for ever, so that they can be found in a process's memory at any time. */
const config = `import { defineTraining, sgd, syntheticImages, tf } from "ringmaster";

export default defineTraining({
  data: syntheticImages({ imageShape: [8, 8, 1], classes: 10, train: ${trainSamples}, test: 16, seed: 1 }),
  batchSize: 32,
  epochs: 1_000_000,
  seats: 3,
  validation: { count: 0 },
  optimizer: sgd({ learningRate: 1e-30 }),
  model: ({ imageShape, classes }) =>
    tf.sequential({ layers: [tf.layers.flatten({ inputShape: imageShape }), tf.layers.dense({ units: classes })] }),
});
`;
const args = set("hashEverySteps", 10);

/** Of the model's largest tensor. */
function weights(run: string): Buffer {
  const file = readFileSync(join(checkpointFolder(run, newestCheckpoint(run)), "model.safetensors"));
  const headerBytes = Number(file.readBigUInt64LE());
  const header = JSON.parse(file.toString("utf8", 8, 8 + headerBytes)) as Record<string, { data_offsets?: number[] }>;
  const spans = Object.values(header).flatMap(({ data_offsets: [first = 0, end = 0] = [] }) => [{ first, end }]);
  const { first, end } = spans.reduce((most, each) => (each.end - each.first > most.end - most.first ? each : most));
  return file.subarray(8 + headerBytes + first, 8 + headerBytes + end);
}

const skip = !canWriteMemory(process.pid) && "this system lets nobody write into another process's memory";

t.test("a bit that flips in one rank's weights is found, and the run goes on without it", { skip }, async (t) => {
  const runs = workspace(t);
  const path = writeConfig(runs, "drift", config);
  const { coordinator, workers } = await startByHand(t, path, {
    ranks: 3,
    args: ["--runs", runs, "--name", "run", ...args],
  });
  const run = join(runs, "run");
  const watch = new RunWatch(run);
  await coordinator.until("a checkpoint", () => checkpointSteps(run).length > 0);
  const [broken, ...others] = workers;
  if (!broken) throw new Error("expected workers");
  t.ok(flipBit(broken.pid, weights(run)) > 0, "it was found in its memory");

  const ended = await broken.ended;
  checkCode(t, ended, 1);
  checkNoStackTrace(t, ended);
  t.match(ended.stderr, /\[STATE_DRIFTED\]/);
  t.match(
    coordinator.stderr(),
    new RegExp(`states differ after step \\d+: rank \\d \\(pid ${broken.pid} .*; going back to .*, without it`),
    "it is said who",
  );
  const pids = others.map(({ pid }) => pid).sort();
  await coordinator.until("a world of the others", () => String([...watch.world()].sort()) === String(pids));
  const step = newestCheckpoint(run);
  await coordinator.until("further checkpoints", () => newestCheckpoint(run) > step);
  coordinator.interrupt();
  checkCode(t, await coordinator.ended, 130);
  for (const { ended } of others) checkCode(t, await ended, 0);
  checkLedger(t, run, trainSamples);
  const last = newestCheckpoint(run);
  await succeed(t, ["train", path, "--runs", runs, "--name", "calm", ...args, ...upTo(last)]);
  t.same(checkpoint(run, last), checkpoint(join(runs, "calm"), last), "the bits of a run that nobody disturbed");
});
