/** Processes that are killed: the rest of their run ends by itself, soon, says who is gone, and what was saved can be used. */
import t, { type Test } from "tap";
import { startByHand } from "./harness/by-hand.ts";
import { type LiveProcess, signal } from "./harness/processes.ts";
import { checkCode, checkNoStackTrace, type Launch, start, succeed } from "./harness/ringmaster.ts";
import {
  checkpoint,
  checkpointSteps,
  entriesOf,
  newestCheckpoint,
  smallConfig,
  workspace,
} from "./harness/run-files.ts";
import { set, upTo } from "./harness/runs.ts";
import { until } from "./harness/waiting.ts";

/** A death is promised to be seen and the run to be over by then. */
const promisedMs = 5000;
const endless = [...set("epochs", 1_000_000), ...set("checkpoint.everySteps", 5)];

interface Running {
  readonly launch: Launch;
  readonly runs: string;
  readonly run: string;
}

/** A run on this machine that has a checkpoint. */
async function train(t: Test, ranks: number): Promise<Running> {
  const runs = workspace(t);
  const launch = start(t, [
    "train",
    smallConfig,
    ...["--runs", runs, "--name", "run", "--ranks", String(ranks)],
    ...endless,
  ]);
  const run = `${runs}/run`;
  await launch.until("a checkpoint", () => checkpointSteps(run).length > 0);
  return { launch, runs, run };
}

function one(launch: Launch, role: LiveProcess["role"]): LiveProcess {
  const found = launch.processes().find((each) => each.role === role);
  if (!found) throw new Error(`there is no ${role}`);
  return found;
}

/** The newest checkpoint is good, and the run goes on from it. @returns the step up to which it went. */
async function resume(t: Test, { run }: { readonly run: string }): Promise<number> {
  const end = newestCheckpoint(run) + 3;
  await succeed(t, ["resume", run, "--ranks", "1", ...upTo(end)]);
  t.equal(newestCheckpoint(run), end, "it can be resumed");
  return end;
}

const sharedMemoryBefore = new Set(entriesOf("/dev/shm"));

t.test("a worker of three that is killed", async (t) => {
  const running = await train(t, 3);
  const { launch } = running;
  const [, pid] = await launch.line(/^worker 2 of 3 joined: .*\(pid (\d+)\)/);
  t.ok(signal(Number(pid), "SIGKILL"));
  const ended = await launch.goneWithin(promisedMs);
  checkCode(t, ended, 1);
  checkNoStackTrace(t, ended);
  const { stderr } = ended;
  const told = stderr.split("\n").filter((line) => /\[WORKER_LOST\]$/.test(line));
  t.equal(told.length, 1, "one line says why");
  t.match(told[0], /\brank 1\b/, "it names the rank");
  t.match(told[0], new RegExp(`\\b${pid}\\b`), "and the process");
  t.match(stderr, new RegExp(`last checkpoint is of step ${newestCheckpoint(running.run)};.* ringmaster resume`));
  const end = await resume(t, running);
  const { runs, run } = running;
  await succeed(t, ["train", smallConfig, "--runs", runs, "--name", "undisturbed", ...endless, ...upTo(end)]);
  t.same(checkpoint(run, end), checkpoint(`${runs}/undisturbed`, end), "to the bits of a run that nobody disturbed");
});

t.test("a coordinator that is killed takes its workers and its supervisor along", async (t) => {
  const running = await train(t, 2);
  const { launch } = running;
  signal(one(launch, "coordinator").pid, "SIGKILL");
  const ended = await launch.goneWithin(promisedMs);
  checkCode(t, ended, 1);
  checkNoStackTrace(t, ended);
  t.match(ended.stderr, /coordinator/, "it is said what is gone");
  await resume(t, running);
});

t.test("a supervisor that is killed takes its coordinator and its workers along", async (t) => {
  const running = await train(t, 2);
  signal(running.launch.pid, "SIGKILL");
  await running.launch.goneWithin(promisedMs + 1000);
  await resume(t, running);
});

t.test("a supervisor that is killed before the workers have joined takes all along", async (t) => {
  const runs = workspace(t);
  const launch = start(t, ["train", smallConfig, "--runs", runs, "--name", "run", "--ranks", "2", ...endless]);
  await launch.until("two workers", () => launch.processes().filter(({ role }) => role === "worker").length > 1);
  signal(launch.pid, "SIGKILL");
  await launch.goneWithin(promisedMs + 1000);
});

t.test("of a run whose processes were started by hand", async (t) => {
  const startRun = async (t: Test) => {
    const runs = workspace(t);
    const run = `${runs}/run`;
    const hands = await startByHand(t, smallConfig, { ranks: 2, args: ["--runs", runs, "--name", "run", ...endless] });
    await hands.coordinator.until("a checkpoint", () => checkpointSteps(run).length > 0);
    return { ...hands, run };
  };

  t.test("a coordinator that is killed takes the workers along", async (t) => {
    const { coordinator, workers, run } = await startRun(t);
    signal(coordinator.pid, "SIGKILL");
    const ends = await Promise.all(workers.map((worker) => worker.goneWithin(promisedMs)));
    // The other may see first that its neighbour left for this reason.
    t.match(ends.map(({ stderr }) => stderr).join(""), /COORDINATOR_LOST/);
    for (const ended of ends) {
      checkCode(t, ended, 1);
      checkNoStackTrace(t, ended);
    }
    await resume(t, { run });
  });

  t.test("a worker that is killed ends the run for all, who say which rank is gone", async (t) => {
    const { coordinator, workers, run } = await startRun(t);
    const [, pid] = await coordinator.line(/^worker 1 of 2 joined: .*\(pid (\d+)\)/);
    t.ok(signal(Number(pid), "SIGKILL"));
    const ended = await coordinator.goneWithin(promisedMs);
    checkCode(t, ended, 1);
    t.match(ended.stderr, /\brank 0\b.*\[WORKER_LOST\]/);
    for (const worker of workers.filter((each) => each.pid !== Number(pid))) {
      const survivor = await worker.goneWithin(promisedMs);
      checkCode(t, survivor, 1);
      t.match(survivor.stderr, /\brank 0\b/);
    }
    await resume(t, { run });
  });
});

t.test("the dead leave nothing in /dev/shm", async () => {
  // Others on this machine may come and go there.
  await until("an empty /dev/shm", () => entriesOf("/dev/shm").every((name) => sharedMemoryBefore.has(name)));
});
