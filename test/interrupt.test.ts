/** Ctrl-C, as a terminal sends it: to every process of the group. */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { setTimeout } from "node:timers/promises";
import t, { type Test } from "tap";
import { startWorker } from "./harness/by-hand.ts";
import { signal } from "./harness/processes.ts";
import { checkCode, checkNoStackTrace, type Ended, type Launch, start, succeed } from "./harness/ringmaster.ts";
import {
  checkpointSteps,
  heavyConfig,
  metrics,
  newestCheckpoint,
  smallConfig,
  workspace,
} from "./harness/run-files.ts";

/** An interrupted run is promised to be saved and gone by then: a bound on waiting, for a run that hangs would wait for ever. */
/** Far more than it takes: a process ends once the native call under way returns, which the heavy model's takes seconds for where the machine is busy. */
const promisedMs = 30_000;
const endless = ["--set", "epochs=1000000"];
const firstStep = /step +1\//;

function train(t: Test, config: string, ...more: string[]): { launch: Launch; run: string } {
  const runs = workspace(t);
  const launch = start(t, ["train", config, "--runs", runs, "--name", "run", ...endless, ...more]);
  return { launch, run: `${runs}/run` };
}

function interruptAndWait(launch: Launch): Promise<Ended> {
  launch.interrupt();
  return launch.goneWithin(promisedMs);
}

for (const ranks of ["1", "2"]) {
  t.test(`Ctrl-C with --ranks ${ranks} saves the last step, exits with 130 and leaves nobody`, async (t) => {
    const { launch, run } = train(t, smallConfig, "--ranks", ranks);
    await launch.line(firstStep);
    const ended = await interruptAndWait(launch);
    checkCode(t, ended, 130);
    checkNoStackTrace(t, ended);
    const trained = metrics(run).filter((record) => record["type"] === "step");
    const last = newestCheckpoint(run);
    t.equal(last, trained.at(-1)?.["step"], "the checkpoint is of the last step");
    t.match(ended.stderr, new RegExp(`last checkpoint is of step ${last};.* ringmaster resume `), "says how to go on");

    t.test("and it can be resumed", async (t) => {
      await succeed(t, ["resume", run, "--ranks", ranks === "1" ? "2" : "1", "--max-steps", String(last + 5)]);
      t.equal(newestCheckpoint(run), last + 5);
    });
  });
}

t.test("SIGTERM to the command alone does the same", async (t) => {
  const { launch, run } = train(t, smallConfig, "--ranks", "2");
  await launch.line(firstStep);
  signal(launch.pid, "SIGTERM");
  checkCode(t, await launch.goneWithin(promisedMs), 130);
  t.ok(newestCheckpoint(run) >= 1);
});

/** Presses Ctrl-C a second time, as a person does: signals within 300 ms are one, for npm passes its own on. */
async function interruptAgainAndWait(launch: Launch): Promise<Ended> {
  await setTimeout(400);
  return interruptAndWait(launch);
}

t.test("a second Ctrl-C ends a run on one rank at once, in the middle of a step", async (t) => {
  const { launch, run } = train(t, heavyConfig, "--ranks", "1");
  await launch.line(firstStep);
  launch.interrupt();
  await launch.line(/stopping after this step/);
  checkCode(t, await interruptAgainAndWait(launch), 130);
  t.same(checkpointSteps(run), [], "it did not wait for the step under way");
});

t.test("a second Ctrl-C ends a run on two ranks at once, though one of them hangs", async (t) => {
  const { launch } = train(t, smallConfig, "--ranks", "2");
  await launch.line(firstStep);
  const hanging = launch.processes().find(({ role }) => role === "worker");
  t.ok(hanging && signal(hanging.pid, "SIGSTOP"));
  launch.interrupt();
  await launch.line(/stopping after this step/);
  checkCode(t, await interruptAgainAndWait(launch), 130);
});

t.test("the first Ctrl-C ends a run with a rank that hangs, after some patience", async (t) => {
  const { launch } = train(t, smallConfig, "--ranks", "2");
  await launch.line(firstStep);
  const hanging = launch.processes().find(({ role }) => role === "worker");
  t.ok(hanging && signal(hanging.pid, "SIGSTOP"));
  launch.interrupt();
  const { code, stderr } = await launch.goneWithin(2 * promisedMs);
  t.not(code, 0);
  t.match(stderr, /did not stop within/);
});

const early: readonly [when: string, ranks: string, reached: (launch: Launch) => Promise<unknown>][] = [
  ["as soon as the run has a folder, on one rank", "1", (launch) => launch.line(/^run run in/)],
  ["while one rank prepares", "1", (launch) => launch.line(/: preparing/)],
  [
    "as soon as there is a coordinator",
    "2",
    (launch) => launch.until("a coordinator", () => launch.processes().some(({ role }) => role === "coordinator")),
  ],
  [
    "as soon as there are workers",
    "2",
    (launch) =>
      launch.until("two workers", () => launch.processes().filter(({ role }) => role === "worker").length > 1),
  ],
  ["when a worker has joined", "2", (launch) => launch.line(/^worker 1 of 2 joined/)],
  ["while two ranks prepare", "2", (launch) => launch.line(/: preparing/)],
];
for (const [when, ranks, reached] of early) {
  t.test(`Ctrl-C before the first step, ${when}, exits with 130 and leaves nobody`, async (t) => {
    const { launch } = train(t, smallConfig, "--ranks", ranks);
    await reached(launch);
    const ended = await interruptAndWait(launch);
    checkCode(t, ended, 130);
    checkNoStackTrace(t, ended);
  });
}

t.test(
  "a worker that is asked to leave before it has found a coordinator exits with 143, as one that has joined",
  async (t) => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    server.close();
    const launch = startWorker(t, smallConfig, { url: `ws://127.0.0.1:${port}`, token: "a-token" });
    await launch.line(/no coordinator answers/);
    signal(launch.pid, "SIGTERM");
    const ended = await launch.goneWithin(promisedMs);
    checkCode(t, ended, 143);
    checkNoStackTrace(t, ended);
  },
);
