import t from "tap";
import { play } from "./fixtures/play.ts";

t.test("a launch ends with the coordinator's exit code and leaves no worker behind", async (t) => {
  for (const [signal, code] of [
    ["SIGUSR2", 0],
    ["SIGHUP", 1],
  ] as const) {
    const launch = play({ workers: 2, worker: () => "deaf" });
    await Promise.all([launch.worker(0), launch.worker(1)]);
    process.kill(await launch.coordinator(), signal);
    t.equal(await launch.exitCode, code);
    t.same(launch.alive(), []);
  }
});

t.test("workers' lines are relayed with their number, and secrets travel in the environment", async (t) => {
  const launch = play({ workers: 2 });
  await Promise.all([launch.said(/^0: pid \d+, a secret$/), launch.said(/^1: pid \d+, a secret$/)]);
  process.kill(await launch.coordinator(), "SIGUSR2");
  t.equal(await launch.exitCode, 0);
});

t.test("a worker that cannot join ends the launch with its own exit code", async (t) => {
  const launch = play({ workers: 2, worker: (index) => (index === 0 ? "unfit" : "joins") });
  t.equal(await launch.exitCode, 2);
  t.same(launch.alive(), []);
});

t.test("a worker that is killed before it has joined ends the launch", async (t) => {
  const launch = play({ workers: 2, worker: (index) => (index === 0 ? "waits" : "joins") });
  process.kill(await launch.worker(0), "SIGKILL");
  t.equal(await launch.exitCode, 1);
  t.notOk(launch.lines.some((line) => line.includes("again")));
  t.same(launch.alive(), []);
});

t.test("when every worker has left the run is stopped in order", async (t) => {
  const launch = play({ workers: 1 });
  process.kill(await launch.worker(0), "SIGTERM");
  t.equal(await launch.exitCode, 130);
  t.same(launch.alive(), []);
});

t.test("a coordinator that dies before it listens fails the launch", async (t) => {
  const launch = play({ workers: 2, coordinator: () => "stillborn" });
  t.equal(await launch.exitCode, 1);
  t.match(launch.lines.at(-1), /the coordinator was ended by SIGKILL/);
  t.equal(launch.recovering.length, 1);
});
