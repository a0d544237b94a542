/**
 * The promise that the rest leans on: what a run learns is a function of its config and its seats, not of who computed it. Runs in other worlds, stopped and
 * resumed in other worlds again, leave the same bytes.
 */
import { readFileSync } from "node:fs";
import { hostname, userInfo } from "node:os";
import { basename } from "node:path";
import t from "tap";
import { checkpoint, checkpointSteps, entriesOf, exampleConfig, learning, testedAtEnd } from "./harness/run-files.ts";
import { named, Runs, set, upTo } from "./harness/runs.ts";

const steps = 40;

t.test("MNIST with dropout", async (t) => {
  const runs = new Runs(t, exampleConfig("train.config.ts"), ["--seats", "4"]);
  const reference = await runs.train({ ranks: 1 }, "reference", ...upTo(steps));
  const bits = checkpoint(reference, steps);

  t.test("leaves the files that it should", async (t) => {
    const kept = entriesOf(reference).filter((name) => name !== "report.html" && name !== "tensorboard");
    t.same(kept.sort(), ["checkpoints", "config.json", "log.jsonl", "metrics.jsonl"]);
    t.equal(bits["files"], "model.safetensors optimizer.safetensors run.json");
    const trained = learning(reference).filter((record) => record["type"] === "step");
    t.same(
      trained.map((record) => record["step"]),
      Array.from({ length: steps }, (_, index) => index + 1),
    );
    const log = readFileSync(`${reference}/log.jsonl`, "utf8").trim().split("\n");
    t.doesNotThrow(() => log.map((line) => JSON.parse(line)), "log.jsonl has a JSON value a line");
  });

  t.test("says nothing in run.json of when, where and by whom it was trained", async (t) => {
    const record = bits["run.json"] ?? "";
    for (const word of [hostname(), userInfo().username, basename(reference), basename(runs.folder), "tmp", "home"])
      t.notOk(new RegExp(`\\b${word.replace(/\W/g, "\\$&")}\\b`).test(record), `no ${word} in it`);
    t.notMatch(record, /\d{4}-\d\d-\d\dT|(?<![\d.])1[5-9]\d{8,11}(?![\d.])/, "no time in it");
    t.notMatch(record, /"\w*([tT]ime|[dD]ate|Ms|[hH]ost|[uU]ser|[pP]id|[rR]anks?|[tT]hreads?|[nN]ame|[pP]ath)":/);
  });

  for (const world of [{ ranks: 1, threads: 2 }, { ranks: 2 }, { ranks: 3 }, { ranks: 4 }]) {
    t.test(`on ${named(world)} leaves the same bytes`, async (t) => {
      const run = await runs.train(world, `on-${world.ranks}`, ...upTo(steps));
      t.same(checkpoint(run, steps), bits);
      t.same(learning(run), learning(reference));
    });
  }

  t.test("stopped at step 20 on one rank, with checkpoints every 10, and resumed on three", async (t) => {
    const run = await runs.train({ ranks: 1 }, "from-1-to-3", ...upTo(20), ...set("checkpoint.everySteps", 10));
    t.same(checkpointSteps(run), [10, 20]);
    await runs.resume(run, { ranks: 3 }, ...upTo(steps));
    t.same(checkpointSteps(run), [20, 30, 40], "the last three stay");
    t.same(checkpoint(run, steps), bits);
    t.same(testedAtEnd(run, steps), learning(reference));
  });
});
