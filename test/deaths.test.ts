/** Processes of a supervised run that are killed: it starts them again, and the run loses nothing. Only with its supervisor it ends. */
import t, { type Test } from "tap";
import { RunWatch } from "./harness/chaos-watch.ts";
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

/** Where a supervisor dies, all are gone by then: far more than it takes, for a process ends once the native call under way returns. */
const promisedMs = 30_000;
const endless = [...set("epochs", 1_000_000), ...set("checkpoint.everySteps", 5)];

interface Running {
  readonly launch: Launch;
  readonly runs: string;
  readonly run: string;
  readonly watch: RunWatch;
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
  return { launch, runs, run, watch: new RunWatch(run) };
}

function one(launch: Launch, role: LiveProcess["role"]): LiveProcess {
  const found = launch.processes().find((each) => each.role === role);
  if (!found) throw new Error(`there is no ${role}`);
  return found;
}

/** Ctrl-C, and its last checkpoint against that of a run that nobody disturbed. */
async function stopAndCompare(t: Test, { launch, runs, run, watch }: Running): Promise<void> {
  t.same(watch.of("restored"), [], "no step was lost");
  launch.interrupt();
  const ended = await launch.goneWithin(30_000);
  checkCode(t, ended, 130);
  checkNoStackTrace(t, ended);
  const last = newestCheckpoint(run);
  await succeed(t, ["train", smallConfig, "--runs", runs, "--name", "calm", "--seats", "4", ...endless, ...upTo(last)]);
  t.same(checkpoint(run, last), checkpoint(`${runs}/calm`, last), "the bits of a run that nobody disturbed");
}

/** The newest checkpoint is good, and the run goes on from it. */
async function resume(t: Test, { run }: { readonly run: string }): Promise<void> {
  const end = newestCheckpoint(run) + 3;
  await succeed(t, ["resume", run, "--ranks", "1", ...upTo(end)]);
  t.equal(newestCheckpoint(run), end, "it can be resumed");
}

const sharedMemoryBefore = new Set(entriesOf("/dev/shm"));

t.test("a worker of three that is killed is started again and joins the run", async (t) => {
  const running = await train(t, 3);
  const { launch, watch } = running;
  const before = watch.world();
  const [victim = 0, ...others] = before;
  t.ok(signal(victim, "SIGKILL"));
  await launch.line(new RegExp(`pid ${victim}\\b.*is lost`));
  const world = await launch.until("three ranks again", () => {
    const pids = watch.world();
    return pids.length === 3 && !pids.includes(victim) && pids;
  });
  t.same(
    others.filter((pid) => !world.includes(pid)),
    [],
    "beside the two others",
  );
  const newcomer = world.find((pid) => !before.includes(pid));
  t.match(launch.stderr(), new RegExp(`is back as pid ${newcomer}$`, "m"), "it is said who came back");
  await stopAndCompare(t, running);
});

t.test("a coordinator that is killed is started again and takes its workers back", async (t) => {
  const running = await train(t, 2);
  const { launch, watch } = running;
  const world = watch.world();
  const { pid } = one(launch, "coordinator");
  signal(pid, "SIGKILL");
  await launch.line(/^the coordinator is back as pid \d+/);
  const step = watch.step();
  await launch.until("further steps", () => watch.step() > step);
  t.not(one(launch, "coordinator").pid, pid);
  t.same(watch.world(), world, "the same workers");
  await stopAndCompare(t, running);
});

t.test("a supervisor that is killed takes its coordinator and its workers along", async (t) => {
  const running = await train(t, 2);
  signal(running.launch.pid, "SIGKILL");
  await running.launch.goneWithin(promisedMs);
  await resume(t, running);
});

t.test("a supervisor that is killed before the workers have joined takes all along", async (t) => {
  const runs = workspace(t);
  const launch = start(t, ["train", smallConfig, "--runs", runs, "--name", "run", "--ranks", "2", ...endless]);
  await launch.until("two workers", () => launch.processes().filter(({ role }) => role === "worker").length > 1);
  signal(launch.pid, "SIGKILL");
  await launch.goneWithin(promisedMs);
});

t.test("the dead leave nothing in /dev/shm", async () => {
  // Others on this machine may come and go there.
  await until("an empty /dev/shm", () => entriesOf("/dev/shm").every((name) => sharedMemoryBefore.has(name)));
});
