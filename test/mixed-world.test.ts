/** A world of ranks that compute different bits: one on libtensorflow, one on the portable backend. They train one run, and it is said what its hash is worth. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { startByHand, startWorker } from "./harness/by-hand.ts";
import { checkCode, checkNoStackTrace, type Ended } from "./harness/ringmaster.ts";
import { checkpointSteps, entriesOf, learning, smallConfig, workspace } from "./harness/run-files.ts";
import { set } from "./harness/runs.ts";

const runs = workspace(t);
const backends = ["tensorflow", "portable"] as const;

/** @returns how the coordinator and the two workers ended. */
async function trainMixed(t: Test, name: string, ...more: string[]): Promise<[Ended, Ended, Ended]> {
  const args = ["--runs", runs, "--name", name, ...set("hashEverySteps", 1), ...more];
  const { coordinator, ...door } = await startByHand(t, smallConfig, { ranks: 2, workers: 0, args });
  const [one, other] = backends.map((backend) => startWorker(t, smallConfig, door, "--backend", backend));
  if (!one || !other) throw new Error("expected two workers");
  return Promise.all([coordinator.ended, one.ended, other.ended]);
}

t.test("a rank on libtensorflow and one on the portable backend train one run", async (t) => {
  const ends = await trainMixed(t, "mixed");
  for (const ended of ends) {
    checkCode(t, ended, 0);
    checkNoStackTrace(t, ended);
  }
  const [{ stdout, stderr }] = ends;
  const run = join(runs, "mixed");

  t.test("and are equal after every step", async (t) => {
    t.same(checkpointSteps(run), [5, 10, 15], "to the end: ranks compare their states' hashes after each step");
    t.match(learning(run).at(-1), { type: "evaluation", split: "test", step: 15, loss: Number });
  });

  const note = "ranks compute different bits";
  t.test(
    "which says once, on the console, in the log and in the report, that they compute different bits",
    async (t) => {
      t.equal(stderr.split(note).length, 2, "on the console");
      t.equal(readFileSync(join(run, "log.jsonl"), "utf8").split(note).length, 2, "in the log");
      t.equal(stdout.replaceAll(/\s+/g, " ").split(note).length, 2, "in the report");
    },
  );

  t.test("and names both", async (t) => {
    t.match(
      stderr,
      /^epoch .* 2 ranks x 1 thread, (CPU [^,]+ and CPU [^,]+, portable backend|CPU [^,]+, portable backend and CPU [^,]+)$/m,
    );
    const { fingerprints } = JSON.parse(readFileSync(join(run, "config.json"), "utf8")) as {
      fingerprints: readonly { readonly backend: string }[];
    };
    t.same(fingerprints.map(({ backend }) => backend).sort(), ["portable-cpu", "tensorflow-cpu"]);
  });
});

t.test('with numerics "strict" they are refused, and both fingerprints named', async (t) => {
  const ends = await trainMixed(t, "strict", ...set("numerics", "strict"));
  for (const ended of ends) {
    checkCode(t, ended, 1);
    checkNoStackTrace(t, ended);
    t.match(ended.stderr, /tensorflow-cpu.*portable-cpu|portable-cpu.*tensorflow-cpu/);
    t.match(ended.stderr, /^ringmaster: .*\[NUMERICS_DIFFER\]$/m);
  }
  t.same(entriesOf(join(runs, "strict", "checkpoints")), []);
});
