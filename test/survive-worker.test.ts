/** Workers that go, hang and come: the run goes on with those who are there. */
import { join } from "node:path";
import t, { type Test } from "tap";
import { type ByHand, startByHand, startWorker } from "./harness/by-hand.ts";
import { checkLedger } from "./harness/chaos-ledger.ts";
import { RunWatch } from "./harness/chaos-watch.ts";
import { signal } from "./harness/processes.ts";
import { checkCode, checkNoStackTrace, type Launch } from "./harness/ringmaster.ts";
import { smallConfig, workspace } from "./harness/run-files.ts";
import { set } from "./harness/runs.ts";

const trainSamples = 235;
const endless = set("epochs", 1_000_000);

interface Running extends ByHand {
  readonly run: string;
  readonly watch: RunWatch;
}

async function begin(t: Test, ranks: number): Promise<Running> {
  const runs = workspace(t);
  const run = join(runs, "run");
  const args = ["--runs", runs, "--name", "run", ...endless, "--seats", String(ranks)];
  const running = { ...(await startByHand(t, smallConfig, { ranks, args })), run, watch: new RunWatch(run) };
  await worldOf(running, running.workers);
  await stepsGoOn(running);
  return running;
}

/** Exactly these processes train. */
const worldOf = ({ coordinator, watch }: Running, wanted: readonly Launch[]) => {
  const pids = wanted.map(({ pid }) => pid).sort();
  return coordinator.until(
    `a world of pids ${pids.join(", ")}`,
    () => String([...watch.world()].sort()) === String(pids),
  );
};

const stepsGoOn = ({ coordinator, watch }: Running) => {
  const step = watch.step();
  return coordinator.until("further steps", () => watch.step() > step);
};

async function stop(t: Test, { coordinator, run }: Running, workers: readonly Launch[]): Promise<void> {
  coordinator.interrupt();
  checkCode(t, await coordinator.ended, 130);
  for (const { ended } of workers) checkCode(t, await ended, 0);
  checkLedger(t, run, trainSamples);
}

const [gone, left] = [/is lost/, /leaves/];

t.test("a worker that is asked to leave exits with 143 once others have its seats", async (t) => {
  const running = await begin(t, 3);
  const [leaver, ...others] = running.workers;
  if (!leaver) throw new Error("expected workers");
  signal(leaver.pid, "SIGTERM");
  const ended = await leaver.ended;
  checkCode(t, ended, 143);
  checkNoStackTrace(t, ended);
  await worldOf(running, others);
  await stepsGoOn(running);
  t.match(running.coordinator.stderr(), left, "it is said that it leaves");
  t.notMatch(running.coordinator.stderr(), gone, "and not that it is lost");
  await stop(t, running, others);
});

t.test("a worker without a seat waits, and takes over at a death", async (t) => {
  const running = await begin(t, 2);
  const [victim, other] = running.workers;
  if (!victim || !other) throw new Error("expected workers");
  const spare = startWorker(t, smallConfig, running);
  await running.coordinator.line(new RegExp(`^another worker joined: .*pid ${spare.pid}\\b`));
  await stepsGoOn(running);
  await worldOf(running, running.workers);
  signal(victim.pid, "SIGKILL");
  await worldOf(running, [other, spare]);
  await stepsGoOn(running);
  t.same(running.watch.of("restored"), [], "no step was lost");
  await stop(t, running, [other, spare]);
});

t.test("a worker that hangs is dropped, and joins anew when it wakes up", async (t) => {
  const running = await begin(t, 3);
  const [sleeper, ...others] = running.workers;
  if (!sleeper) throw new Error("expected workers");
  signal(sleeper.pid, "SIGSTOP");
  await worldOf(running, others);
  await stepsGoOn(running);
  signal(sleeper.pid, "SIGCONT");
  await worldOf(running, running.workers);
  await stepsGoOn(running);
  t.same(running.watch.of("restored"), [], "no step was lost");
  await stop(t, running, running.workers);
});
