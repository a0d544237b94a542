/** A coordinator that dies, hangs or is replaced: its workers go on without it, and nothing of what they did is lost. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { type ByHand, startByHand, startWorker } from "./harness/by-hand.ts";
import { checkLedger } from "./harness/chaos-ledger.ts";
import { proxyTo } from "./harness/chaos-proxy.ts";
import { RunWatch } from "./harness/chaos-watch.ts";
import { signal } from "./harness/processes.ts";
import { checkCode, checkNoStackTrace, type Launch, start } from "./harness/ringmaster.ts";
import { checkpointSteps, smallConfig, workspace } from "./harness/run-files.ts";
import { set } from "./harness/runs.ts";
import { until } from "./harness/waiting.ts";

const trainSamples = 235;
const endless = [...set("epochs", 1_000_000), ...set("checkpoint.everySteps", 20), "--seats", "2"];

interface Running extends ByHand {
  readonly run: string;
  readonly watch: RunWatch;
  readonly port: string;
}

async function begin(t: Test, workers = 2): Promise<Running> {
  const runs = workspace(t);
  const run = join(runs, "run");
  const hands = await startByHand(t, smallConfig, {
    ranks: 2,
    workers,
    args: ["--runs", runs, "--name", "run", ...endless],
  });
  return { ...hands, run, watch: new RunWatch(run), port: new URL(hands.url).port };
}

const saved = ({ coordinator, run }: Running) =>
  coordinator.until("a checkpoint", () => checkpointSteps(run).length > 0);

const recover = (t: Test, { run, token }: Running, port: string): Launch =>
  start(t, ["coordinator", "--recover", run, "--ranks", "2", "--port", port], { env: { RINGMASTER_TOKEN: token } });

/** Seconds of the processor that a process has had: steps alone take much of it. */
function processorSeconds({ pid }: Launch): number {
  const [, fields = ""] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ");
  const [, , , , , , , , , , , user, system] = fields.split(" ").map(Number);
  return ((user ?? 0) + (system ?? 0)) / 100;
}

async function stop(t: Test, { run, workers }: Running, leader: Launch): Promise<void> {
  leader.interrupt();
  for (const [index, ended] of (await Promise.all([leader, ...workers].map(({ ended }) => ended))).entries()) {
    checkCode(t, ended, index === 0 ? 130 : 0);
    checkNoStackTrace(t, ended);
  }
  checkLedger(t, run, trainSamples);
}

t.test("workers go on stepping while their coordinator is dead, and its successor takes the same back", async (t) => {
  const running = await begin(t);
  const { coordinator, workers, watch } = running;
  await saved(running);
  const world = watch.world();
  signal(coordinator.pid, "SIGKILL");
  await coordinator.ended;
  const shown = watch.step();
  const before = workers.map(processorSeconds);
  await until("a second of the processor for each", () =>
    workers.every((worker, rank) => processorSeconds(worker) > (before[rank] ?? 0) + 1),
  );
  t.equal(watch.step(), shown, "nobody writes meanwhile");

  const successor = recover(t, running, running.port);
  await successor.until("steps of after its death", () => watch.step() > shown + 20);
  t.same(watch.world(), world, "the same processes");
  t.equal(watch.of("regrouping").length, 1, "who were not interrupted");
  t.same([...watch.of("lost"), ...watch.of("restored")], [], "and nothing was lost");
  await stop(t, running, successor);
});

t.test("a second coordinator beside one that lives is refused, and the run goes on", async (t) => {
  const running = await begin(t);
  const { coordinator, watch } = running;
  await saved(running);
  const refused = await recover(t, running, "0").ended;
  checkCode(t, refused, 2);
  checkNoStackTrace(t, refused);
  t.match(refused.stderr, /\[RUN_IN_USE\]/);
  const step = watch.step();
  await coordinator.until("further steps", () => watch.step() > step);
  await stop(t, running, coordinator);
});

for (const ranks of ["1", "2"]) {
  t.test(
    `a run that is under way is not resumed beside itself on --ranks ${ranks}, and loses nothing by it`,
    async (t) => {
      const running = await begin(t);
      await saved(running);
      const { coordinator, run, watch } = running;
      const step = watch.step();
      const refused = await start(t, ["resume", run, "--ranks", ranks]).ended;
      checkCode(t, refused, 2);
      checkNoStackTrace(t, refused);
      t.match(refused.stderr, /\[RUN_IN_USE\]/);
      await coordinator.until("further steps", () => watch.step() > step);
      await stop(t, running, coordinator);
    },
  );
}

/** One that hangs while it writes its journal has it locked: a second says whom to end, and does not take over. */
async function stopOutsideOfWrites({ coordinator, run }: Pick<Running, "coordinator" | "run">): Promise<void> {
  await until("a stop outside of writes", () => {
    signal(coordinator.pid, "SIGSTOP");
    // A signal takes its time.
    if (!/\) T/.test(readFileSync(`/proc/${coordinator.pid}/stat`, "utf8"))) return false;
    const isWriting = readFileSync(join(run, "state", "lease"), "utf8").includes('"isWriting":true');
    if (isWriting) signal(coordinator.pid, "SIGCONT");
    return !isWriting;
  });
}

t.test("beside one that hangs a second takes over, and the first steps back when it wakes up", async (t) => {
  const running = await begin(t, 0);
  const { coordinator, watch, token, port } = running;
  const proxy = await proxyTo(t, Number(port));
  const workers = [1, 2].map(() => startWorker(t, smallConfig, { url: proxy.url, token }));
  await saved(running);
  const world = watch.world();
  await stopOutsideOfWrites(running);
  const successor = recover(t, running, "0");
  const [, at = ""] = await successor.line(/--join ws:\S+:(\d+)/);
  proxy.leadTo(Number(at));
  proxy.cut();
  const step = watch.step();
  await successor.until("steps under the second", () => watch.step() > step + 20);
  t.same(watch.world(), world, "the same processes");

  signal(coordinator.pid, "SIGCONT");
  const first = await coordinator.ended;
  checkCode(t, first, 1);
  checkNoStackTrace(t, first);
  t.match(first.stderr, /\[REPLACED\]/);
  const later = watch.step();
  await successor.until("further steps", () => watch.step() > later);
  await stop(t, { ...running, workers }, successor);
});

t.test("workers whose coordinator never comes back end when their patience does", async (t) => {
  const running = await begin(t, 0);
  const { coordinator, url, token } = running;
  const workers = [1, 2].map(() => startWorker(t, smallConfig, { url, token }, "--patience", "2"));
  await saved(running);
  signal(coordinator.pid, "SIGKILL");
  for (const ended of await Promise.all(workers.map(({ ended }) => ended))) {
    checkCode(t, ended, 1);
    checkNoStackTrace(t, ended);
    t.match(ended.stderr, /coordinator/);
  }
});
