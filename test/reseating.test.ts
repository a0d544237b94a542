/** A rank that is slowed down gives seats to a faster one while the run goes on, and the bits stay. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { startByHand } from "./harness/by-hand.ts";
import { checkLedger } from "./harness/chaos-ledger.ts";
import { type RunEvent, RunWatch } from "./harness/chaos-watch.ts";
import { writeConfig } from "./harness/config-text.ts";
import { signal } from "./harness/processes.ts";
import { checkCode, succeed } from "./harness/ringmaster.ts";
import { checkpoint, newestCheckpoint, workspace } from "./harness/run-files.ts";
import { upTo } from "./harness/runs.ts";

const trainSamples = 256;
const seats = 8;
/** A seat takes milliseconds, so that a step is not over between two stops. */
const config = `import { defineTraining, sgd, syntheticImages, tf } from "ringmaster";

export default defineTraining({
  data: syntheticImages({ imageShape: [32, 32, 1], classes: 4, train: ${trainSamples}, test: 16, seed: 1 }),
  batchSize: 128,
  epochs: 1_000_000,
  seats: ${seats},
  validation: { count: 0 },
  checkpoint: { everySteps: 1_000 },
  optimizer: sgd({ learningRate: 1e-3 }),
  model: ({ imageShape, classes }) =>
    tf.sequential({
      layers: [
        tf.layers.conv2d({ inputShape: imageShape, filters: 16, kernelSize: 5, padding: "same", activation: "relu" }),
        tf.layers.conv2d({ filters: 16, kernelSize: 5, padding: "same", activation: "relu" }),
        tf.layers.globalAveragePooling2d({}),
        tf.layers.dense({ units: classes }),
      ],
    }),
});
`;

const [stoppedMs, runningMs] = [120, 30];

/** Lets a process run a fifth of the time, until the promise is settled. */
async function slowDown(pid: number, until: Promise<unknown>): Promise<void> {
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  until.then(over, over);
  while (!isOver) {
    signal(pid, "SIGSTOP");
    await sleep(stoppedMs);
    signal(pid, "SIGCONT");
    await sleep(runningMs);
  }
}

/** How many seats each process has. */
function seatsOf(event: RunEvent): ReadonlyMap<number, number> {
  const seating: unknown = Reflect.get(event, "seating");
  const owners = Array.isArray(seating) ? seating : [];
  return new Map((event.pids ?? []).map((pid, rank) => [pid, owners.filter((owner) => owner === rank).length]));
}

t.test("seats move from a rank that is slowed down to one that is not", async (t) => {
  const runs = workspace(t);
  const path = writeConfig(runs, "reseating", config);
  const args = ["--runs", runs, "--name", "run", "--balance", "speed"];
  const { coordinator, workers } = await startByHand(t, path, { ranks: 2, args });
  const [slow, fast] = workers;
  if (!slow || !fast) throw new Error("expected two workers");
  const run = join(runs, "run");
  const watch = new RunWatch(run);
  await coordinator.until("steps", () => watch.step() > 0);
  const [before] = watch.of("proceeding").map(seatsOf);
  t.same([before?.get(slow.pid), before?.get(fast.pid)], [seats / 2, seats / 2], "at first each has as many");

  const moved = coordinator.until("another seating", () => {
    const [, second] = watch.of("proceeding");
    return second;
  });
  await slowDown(slow.pid, moved);
  const event = await moved;
  const after = seatsOf(event);
  t.ok((after.get(slow.pid) ?? 0) < seats / 2, "the slower one has fewer", { after: [...after] });
  t.equal((after.get(slow.pid) ?? 0) + (after.get(fast.pid) ?? 0), seats);
  const because = watch.of("regrouping").find(({ generation }) => generation === event.generation)?.message;
  t.match(because, /^seats move to where they are worked faster: \d+ ms a step become \d+$/);
  await coordinator.until("steps in the new seating", () => watch.step() > (event.step ?? 0));
  coordinator.interrupt();
  checkCode(t, await coordinator.ended, 130);
  for (const { ended } of workers) checkCode(t, await ended, 0);

  t.same(watch.of("restored"), [], "no step was lost");
  checkLedger(t, run, trainSamples);
  const last = newestCheckpoint(run);
  await succeed(t, ["train", path, "--runs", runs, "--name", "calm", ...upTo(last)]);
  t.same(checkpoint(run, last), checkpoint(join(runs, "calm"), last), "the bits of a run that nobody disturbed");
});
