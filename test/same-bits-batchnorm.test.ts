/** BatchNorm sees the samples of a seat, whoever computes it: with it too the bits depend on the config and the seats alone. */
import t from "tap";
import { start } from "./harness/ringmaster.ts";
import {
  checkpoint,
  checkpointSteps,
  exampleConfig,
  learning,
  newestCheckpoint,
  testedAtEnd,
} from "./harness/run-files.ts";
import { named, Runs, set, upTo } from "./harness/runs.ts";

const steps = 40;

t.test("MNIST with dropout and BatchNorm", async (t) => {
  const runs = new Runs(t, exampleConfig("batchnorm.config.ts"), ["--seats", "4"]);
  const reference = await runs.train({ ranks: 1, threads: 2 }, "reference", ...upTo(steps));
  const bits = checkpoint(reference, steps);

  for (const world of [{ ranks: 1 }, { ranks: 4 }]) {
    t.test(`on ${named(world)} leaves the same bytes`, async (t) => {
      const run = await runs.train(world, `on-${world.ranks}`, ...upTo(steps));
      t.same(checkpoint(run, steps), bits);
      t.same(learning(run), learning(reference));
    });
  }

  t.test("stopped at step 20 on two ranks and resumed on one", async (t) => {
    const run = await runs.train({ ranks: 2 }, "from-2-to-1", ...upTo(20));
    await runs.resume(run, { ranks: 1, threads: 2 }, ...upTo(steps));
    t.same(checkpoint(run, steps), bits);
    t.same(testedAtEnd(run, steps), learning(reference));
  });

  t.test("interrupted in its middle on one rank and resumed on three", async (t) => {
    const run = runs.folderOf("interrupted");
    const args = runs.trainArgs({ ranks: 1, threads: 2 }, "interrupted", ...set("checkpoint.everySteps", 5));
    const launch = start(t, args);
    await launch.until("a checkpoint", () => checkpointSteps(run).length > 0);
    launch.interrupt();
    t.equal((await launch.ended).code, 130);
    t.ok(newestCheckpoint(run) < steps, "it was in the middle");
    await runs.resume(run, { ranks: 3 }, ...upTo(steps));
    t.same(checkpoint(run, steps), bits);
    t.same(learning(run), learning(reference));
  });
});
