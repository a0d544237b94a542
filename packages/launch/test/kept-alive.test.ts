import t from "tap";
import { play } from "./fixtures/play.ts";

const interrupt = () => process.emit("SIGINT", "SIGINT");

t.test("a worker that is killed is started again, and the run goes on to its end", async (t) => {
  const launch = play({ workers: 2 });
  const pid = await launch.worker(1);
  process.kill(pid, "SIGKILL");
  const again = await launch.said(/^worker 1 is back as pid (\d+)$/);
  t.not(again, pid);
  t.ok(launch.lines.includes(`worker 1 (pid ${pid}) was ended by SIGKILL; starting it again`));
  process.kill(await launch.coordinator(), "SIGUSR2");
  t.equal(await launch.exitCode, 0);
  t.equal(launch.lines.filter((line) => line.startsWith("0: pid")).length, 1, "the other was left alone");
  t.same(launch.alive(), []);
});

t.test("a worker that dies again and again is given up, and the run goes on with the others", async (t) => {
  const launch = play({ workers: 2, worker: (index, life) => (index === 1 && life > 0 ? "stillborn" : "joins") });
  await launch.worker(0);
  process.kill(await launch.worker(1), "SIGKILL");
  await launch.said(
    /^worker 1 \(pid \d+\) was ended by SIGKILL and is given up: it died 8 times in a row;.*see log of/,
  );
  t.equal(launch.lines.filter((line) => line.startsWith("worker 1 is started")).length, 8);
  process.kill(await launch.coordinator(), "SIGUSR2");
  t.equal(await launch.exitCode, 0, "the coordinator was not stopped");
  t.same(launch.alive(), []);
});

t.test("when every worker is given up the run is stopped, and fails", async (t) => {
  const launch = play({ workers: 2, worker: (_index, life) => (life > 0 ? "stillborn" : "joins") });
  for (const index of [0, 1]) process.kill(await launch.worker(index), "SIGKILL");
  t.equal(await launch.exitCode, 1);
  t.ok(launch.lines.includes("no worker is left: the run is stopped"));
  t.same(launch.alive(), []);
});

t.test("a worker that is asked to leave by SIGTERM is not started again", async (t) => {
  const launch = play({ workers: 2 });
  await launch.worker(0);
  process.kill(await launch.worker(1), "SIGTERM");
  await launch.said(/^worker 1 has left$/);
  process.kill(await launch.coordinator(), "SIGUSR2");
  t.equal(await launch.exitCode, 0, "the run went on");
  t.notOk(launch.lines.some((line) => line.includes("again")));
  t.same(launch.alive(), []);
});

t.test(
  "workers that end just before their coordinator have heard of the run's end and are not started again",
  async (t) => {
    for (const [signal, code] of [
      ["SIGUSR2", 0],
      ["SIGHUP", 1],
    ] as const) {
      const launch = play({ workers: 2 });
      for (const index of [0, 1]) process.kill(await launch.worker(index), signal);
      process.kill(await launch.coordinator(), signal);
      t.equal(await launch.exitCode, code);
      t.notOk(launch.lines.some((line) => line.includes("again") || line.includes("left")));
      t.same(launch.alive(), []);
    }
  },
);

t.test("a coordinator that dies is started again at its address, while its workers stay", async (t) => {
  for (const [signal, how] of [
    ["SIGKILL", "was ended by SIGKILL"],
    ["SIGWINCH", "ended with exit code 70"],
  ] as const) {
    const launch = play({ workers: 2 });
    await Promise.all([launch.worker(0), launch.worker(1)]);
    const pid = await launch.coordinator();
    process.kill(pid, signal);
    const again = await launch.said(/^the coordinator is back as pid (\d+)$/);
    const [first, second] = launch.recovering;
    t.equal(first, undefined);
    t.match(second, { url: /^ws:\/\/127\.0\.0\.1:\d+$/, logFile: `log of ${pid}` });
    const port = new URL(second?.url ?? "").port;
    t.ok(launch.lines.includes(`the coordinator (pid ${pid}) ${how}; starting it again on port ${port}`));
    process.kill(again, "SIGUSR2");
    t.equal(await launch.exitCode, 0);
    t.equal(launch.lines.filter((line) => /^\d: pid/.test(line)).length, 2, "no worker was started again");
    t.same(launch.alive(), []);
  }
});

t.test("a worker that dies while there is no coordinator is started again all the same", async (t) => {
  const launch = play({ workers: 1, coordinator: (life) => (life === 0 ? "punctual" : "slow") });
  const pid = await launch.worker(0);
  process.kill(await launch.coordinator(), "SIGKILL");
  await launch.said(/coordinator 1 is started/);
  process.kill(pid, "SIGKILL");
  await launch.said(/worker 0 is back/);
  interrupt();
  t.equal(await launch.exitCode, 130);
  t.same(launch.alive(), []);
});

t.test("a coordinator that dies again and again fails the launch", async (t) => {
  const launch = play({ workers: 2, coordinator: (life) => (life === 0 ? "punctual" : "stillborn") });
  await Promise.all([launch.worker(0), launch.worker(1)]);
  process.kill(await launch.coordinator(), "SIGKILL");
  t.equal(await launch.exitCode, 1);
  t.match(launch.lines.at(-1), /given up: it died 6 times in a row; its run can be resumed .*; see log of/);
  t.equal(launch.recovering.length, 6);
  t.same(launch.alive(), []);
});
