import { setTimeout as delay } from "node:timers/promises";
import t from "tap";
import { createSignalCount } from "../src/signals.ts";
import { play } from "./fixtures/play.ts";

const interrupt = () => process.emit("SIGINT", "SIGINT");

t.test("the first Ctrl-C asks the coordinator to stop, after which nothing is started again", async (t) => {
  const launch = play({ workers: 1, coordinator: () => "deaf" });
  const worker = await launch.worker(0);
  interrupt();
  process.kill(worker, "SIGKILL");
  t.equal(await launch.exitCode, 130);
  t.match(launch.lines.at(-1), /did not stop within 0.5 s/);
  t.notOk(launch.lines.some((line) => line.includes("again")));
  t.same(launch.alive(), []);
});

t.test("Ctrl-C stops a coordinator that is just being started again in order", async (t) => {
  const launch = play({ workers: 1, coordinator: (life) => (life === 0 ? "punctual" : "slow") });
  await launch.worker(0);
  process.kill(await launch.coordinator(), "SIGKILL");
  await launch.said(/coordinator 1 is started/);
  interrupt();
  t.equal(await launch.exitCode, 130);
  t.notOk(launch.lines.some((line) => /at once|did not stop/.test(line)));
  t.same(launch.alive(), []);
});

t.test("Ctrl-C between two coordinators ends at once", async (t) => {
  const launch = play({
    workers: 2,
    worker: () => "deaf",
    coordinator: (life) => (life === 0 ? "punctual" : "stillborn"),
    restartDelayMs: 3_600_000,
  });
  await Promise.all([launch.worker(0), launch.worker(1)]);
  process.kill(await launch.coordinator(), "SIGKILL");
  await launch.said(/starting it again on port \d+ in 3600 s/);
  interrupt();
  t.equal(await launch.exitCode, 130);
  t.match(launch.lines.at(-1), /at once/);
  t.same(launch.alive(), []);
});

t.test("the second Ctrl-C ends everything at once", async (t) => {
  const launch = play({ workers: 1, worker: () => "deaf", coordinator: () => "deaf" });
  await launch.worker(0);
  interrupt();
  await delay(400);
  interrupt();
  t.equal(await launch.exitCode, 130);
  t.match(launch.lines.at(-1), /at once/);
  t.same(launch.alive(), []);
});

t.test("signals within a moment are one: npm passes Ctrl-C on to a child that has heard it already", async (t) => {
  let nowMs = 0;
  const count = createSignalCount(() => nowMs);
  t.same([count(), count()], [1, 0]);
  nowMs = 299;
  t.equal(count(), 0);
  nowMs = 600;
  t.equal(count(), 2);
});
