/**
 * The promise that the rest leans on: what a run learns is a function of its config and its seats, not of who computed it. Runs in other worlds, stopped and
 * resumed in other worlds again, leave the same bytes.
 */
import { readFileSync } from "node:fs";
import { hostname, userInfo } from "node:os";
import { basename, join } from "node:path";
import t, { type Test } from "tap";
import { start, succeed } from "./harness/ringmaster.ts";
import {
  checkpoint,
  checkpointSteps,
  entriesOf,
  exampleConfig,
  learning,
  newestCheckpoint,
  smallConfig,
  workspace,
} from "./harness/run-files.ts";

interface World {
  readonly ranks: number;
  readonly threads?: number;
}

const worldArgs = ({ ranks, threads }: World) => [
  "--ranks",
  String(ranks),
  ...(threads === undefined ? [] : ["--threads", String(threads)]),
];
const worldName = ({ ranks, threads = 1 }: World) => `ranks-${ranks}-threads-${threads}`;

class Runs {
  readonly #t: Test;
  readonly #config: string;
  readonly folder: string;

  constructor(t: Test, config: string) {
    this.#t = t;
    this.#config = config;
    this.folder = workspace(t);
  }

  args(world: World, name: string, ...more: string[]): string[] {
    return ["train", this.#config, "--runs", this.folder, "--name", name, ...worldArgs(world), ...more];
  }

  async train(world: World, name: string, ...more: string[]): Promise<string> {
    await succeed(this.#t, this.args(world, name, ...more));
    return join(this.folder, name);
  }

  async resume(run: string, world: World, ...more: string[]): Promise<void> {
    await succeed(this.#t, ["resume", run, ...worldArgs(world), ...more]);
  }
}

const seats4 = ["--seats", "4"];
const to40 = [...seats4, "--max-steps", "40"];
/** A run that was told to end at step 20 was tested then. */
const withoutTestAt = (step: number, run: string) =>
  learning(run).filter((record) => !(record["split"] === "test" && record["step"] === step));

t.test("MNIST with dropout", async (t) => {
  const runs = new Runs(t, exampleConfig("train.config.ts"));
  const reference = await runs.train({ ranks: 1, threads: 1 }, "reference", ...to40);
  const bits = checkpoint(reference, 40);

  t.test("leaves the files that it should", async (t) => {
    t.same(entriesOf(reference).sort(), ["checkpoints", "config.json", "log.jsonl", "metrics.jsonl"]);
    t.equal(bits["files"], "model.safetensors optimizer.safetensors run.json");
    const steps = learning(reference).filter((record) => record["type"] === "step");
    t.same(
      steps.map((record) => record["step"]),
      Array.from({ length: 40 }, (_, index) => index + 1),
    );
    const log = readFileSync(join(reference, "log.jsonl"), "utf8").trim().split("\n");
    for (const line of log) t.doesNotThrow(() => JSON.parse(line), "log.jsonl is JSON a line");
  });

  t.test("says nothing in run.json of when, where and by whom it was trained", async (t) => {
    const record = bits["run.json"] ?? "";
    for (const found of [hostname(), userInfo().username, basename(reference), runs.folder, "/tmp", "/home"])
      t.notOk(new RegExp(`\\b${escape(found)}\\b|^${escape(found)}`).test(record), `no ${found} in it`);
    t.notMatch(record, /\d{4}-\d\d-\d\d|"\w*([tT]ime|[dD]ate|Ms|[hH]ost|[uU]ser|[pP]id|[rR]ank|[tT]hread)\w*":/);
    t.notMatch(record, /\b1[5-9]\d{8,11}\b/, "no time since 1970");
  });

  for (const world of [{ ranks: 1, threads: 2 }, { ranks: 2 }, { ranks: 3 }, { ranks: 4 }]) {
    t.test(`on ${worldName(world)} leaves the same bytes`, async (t) => {
      const run = await runs.train(world, worldName(world), ...to40);
      t.same(checkpoint(run, 40), bits);
      t.same(learning(run), learning(reference));
    });
  }

  t.test("stopped at step 20 on one rank, with checkpoints every 10, and resumed on three", async (t) => {
    const run = await runs.train(
      { ranks: 1, threads: 1 },
      "from-1-to-3",
      ...seats4,
      "--max-steps",
      "20",
      "--set",
      "checkpoint.everySteps=10",
    );
    t.same(checkpointSteps(run), [10, 20]);
    await runs.resume(run, { ranks: 3 }, "--max-steps", "40");
    t.same(checkpointSteps(run), [20, 30, 40], "the last three stay");
    t.same(checkpoint(run, 40), bits);
    t.same(withoutTestAt(20, run), learning(reference));
  });

  t.test("of another seed, or with other seats, gives other bits", async (t) => {
    const seed = await runs.train({ ranks: 1, threads: 2 }, "seed", ...seats4, "--max-steps", "2", "--set", "seed=7");
    const seats = await runs.train({ ranks: 1, threads: 2 }, "seats", "--seats", "2", "--max-steps", "2");
    const same = await runs.train({ ranks: 1, threads: 2 }, "same", ...seats4, "--max-steps", "2");
    const [ofSeed, ofSeats, ofSame] = [seed, seats, same].map((run) => checkpoint(run, 2)["model.safetensors"]);
    t.equal(new Set([ofSeed, ofSeats, ofSame]).size, 3);
  });
});

t.test("a small run over epochs whose last batch leaves a seat without samples", async (t) => {
  const runs = new Runs(t, smallConfig);
  const reference = await runs.train({ ranks: 1, threads: 1 }, "reference");
  const compare = (t: Test, run: string) => {
    t.same(checkpointSteps(run), [5, 10, 15]);
    for (const step of [5, 10, 15]) t.same(checkpoint(run, step), checkpoint(reference, step), `step ${step}`);
  };

  t.test("is validated at every epoch's end and tested once", async (t) => {
    const evaluations = learning(reference).filter((record) => record["type"] === "evaluation");
    t.same(
      evaluations.map(({ split, step, samples }) => [split, step, samples]),
      [
        ["validation", 5, 40],
        ["validation", 10, 40],
        ["validation", 15, 40],
        ["test", 15, 60],
      ],
    );
  });

  for (const world of [{ ranks: 1, threads: 4 }, { ranks: 2, threads: 2 }, { ranks: 3 }, { ranks: 4 }]) {
    t.test(`on ${worldName(world)} leaves the same bytes after every epoch`, async (t) => {
      const run = await runs.train(world, worldName(world));
      compare(t, run);
      t.same(learning(run), learning(reference));
    });
  }

  t.test("stopped inside an epoch and at an epoch's end, each time resumed in another world", async (t) => {
    const run = await runs.train({ ranks: 3 }, "thrice", "--max-steps", "3");
    await runs.resume(run, { ranks: 1, threads: 2 }, "--max-steps", "10");
    await runs.resume(run, { ranks: 2 }, "--max-steps", "15");
    t.same(checkpointSteps(run), [5, 10, 15]);
    for (const step of [5, 10, 15]) t.same(checkpoint(run, step), checkpoint(reference, step), `step ${step}`);
    t.same(
      learning(run).filter((record) => record["split"] !== "test" || record["step"] === 15),
      learning(reference),
    );
  });

  t.test("of another segment size leaves the same tensors, of another bucket size it may not", async (t) => {
    const run = await runs.train({ ranks: 3 }, "segments", "--set", "segmentBytes=256");
    t.same(checkpoint(run, 15), checkpoint(reference, 15));
  });
});

t.test("a run that Ctrl-C stopped in its middle", async (t) => {
  const runs = new Runs(t, smallConfig);
  const long = ["--set", "epochs=1000", "--set", "checkpoint.everySteps=7"];
  const stopped = join(runs.folder, "stopped");
  const launch = start(t, runs.args({ ranks: 2 }, "stopped", ...long));
  await launch.until("a checkpoint", () => checkpointSteps(stopped).length > 0);
  launch.interrupt();
  t.equal((await launch.ended).code, 130);
  const step = newestCheckpoint(stopped);
  const end = step + 6;
  t.test(`leaves what a run to that step leaves, and resumed what a run that never stopped leaves`, async (t) => {
    const undisturbed = await runs.train({ ranks: 1, threads: 1 }, "undisturbed", ...long, "--max-steps", String(step));
    t.same(checkpoint(stopped, step), checkpoint(undisturbed, step));
    await runs.resume(stopped, { ranks: 3 }, "--max-steps", String(end));
    const longer = await runs.train({ ranks: 1, threads: 1 }, "longer", ...long, "--max-steps", String(end));
    t.same(checkpoint(stopped, end), checkpoint(longer, end));
    t.same(learning(stopped), learning(longer));
  });
});

const escape = (text: string) => text.replace(/[^\w]/g, "\\$&");
