/** Ranks that compute different bits, killed while they train: the run keeps one history, which all its ranks share, and it is said once what its hash is worth. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { startByHand, startWorker } from "./harness/by-hand.ts";
import { checkLedger } from "./harness/chaos-ledger.ts";
import { RunWatch } from "./harness/chaos-watch.ts";
import { signal } from "./harness/processes.ts";
import { checkCode, checkNoStackTrace, type Launch } from "./harness/ringmaster.ts";
import { newestCheckpoint, smallConfig, workspace } from "./harness/run-files.ts";
import { set } from "./harness/runs.ts";
import { until } from "./harness/waiting.ts";

const trainSamples = 235;

t.test("a rank on libtensorflow and one on the portable backend are killed in turn", async (t) => {
  const runs = workspace(t);
  const run = join(runs, "mixed");
  const watch = new RunWatch(run);
  // Ranks compare the hashes of their states after each step.
  const settings = [...set("epochs", 1_000_000), ...set("hashEverySteps", 1)];
  const args = ["--runs", runs, "--name", "mixed", ...settings, "--seats", "4"];
  const { coordinator, ...door } = await startByHand(t, smallConfig, { ranks: 2, workers: 0, args });
  const begin = (backend: string) => startWorker(t, smallConfig, door, "--backend", backend);
  const ranks = new Map<string, Launch>(["tensorflow", "portable"].map((backend) => [backend, begin(backend)]));
  const goOn = async () => {
    const pids = [...ranks.values()].map(({ pid }) => pid).sort();
    await until("both ranks", () => String([...watch.world()].sort()) === String(pids));
    const step = watch.step();
    await coordinator.until("further steps", () => watch.step() > step + 10);
  };
  await goOn();
  for (const victim of ["tensorflow", "portable", "tensorflow", "portable"]) {
    signal(ranks.get(victim)?.pid ?? 0, "SIGKILL");
    ranks.set(victim, begin(victim));
    await goOn();
  }
  coordinator.interrupt();
  const led = await coordinator.ended;
  checkCode(t, led, 130);
  checkNoStackTrace(t, led);
  for (const { ended } of ranks.values()) checkCode(t, await ended, 0);

  t.test("and finish one history, equal after every step", async (t) => {
    const steps = checkLedger(t, run, trainSamples);
    t.equal(newestCheckpoint(run), steps);
    t.same([...watch.of("restored")], [], "no step was lost");
    t.notMatch(led.stderr, /states differ/, "no rank drifted");
  });

  t.test("and it is said once that ranks compute different bits", async (t) => {
    const note = "ranks compute different bits";
    t.equal(led.stderr.split(note).length, 2, "on the console");
    t.equal(readFileSync(join(run, "log.jsonl"), "utf8").split(note).length, 2, "in the log");
  });
});
