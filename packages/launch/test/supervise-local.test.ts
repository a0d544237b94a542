import { existsSync } from "node:fs";
import t from "tap";
import { type LocalLaunch, superviseLocal } from "../src/index.ts";
import { createSignalCount } from "../src/signals.ts";

/**
 * A program that plays a coordinator or a worker by its first argument. It speaks the supervisor's channel itself, so that these tests are about the supervisor
 * alone; the real roles run under it in the end-to-end tests.
 */
const actor = `
const [role, how] = process.argv.slice(1);
process.on("SIGINT", () => {});
process.on("disconnect", () => process.exit(9));
const keep = setInterval(() => {}, 1000);
if (role === "coordinator") {
  process.send({ type: "listening", url: "ws://127.0.0.1:1", logFile: "log" });
  process.on("message", (message) => { if (message.type === "stop" && how !== "deaf") process.exit(130); });
  if (how === "done") setTimeout(() => process.exit(0), 1500);
  if (how === "fails") setTimeout(() => process.exit(1), 1500);
  if (how === "killed") setTimeout(() => process.kill(process.pid, "SIGKILL"), 1500);
} else {
  console.log("hello from " + process.env.SECRET);
  console.log("pid " + process.pid);
  if (how === "broken") process.exit(2);
  if (how === "obedient") process.on("message", () => process.exit(143));
}
`;

interface Played {
  readonly code: number;
  readonly lines: readonly string[];
  readonly pids: readonly number[];
}

async function play(
  coordinator: string,
  worker: string,
  workers: number,
  during: (lines: readonly string[]) => void = () => {},
): Promise<Played> {
  const lines: string[] = [];
  const launch: LocalLaunch = {
    program: [process.execPath, "-e", actor],
    coordinatorArgs: ["coordinator", coordinator],
    workerArgs: () => ["worker", worker],
    workers,
    env: { SECRET: "a secret" },
    onOutput: (index, line) => {
      lines.push(`${index}: ${line}`);
      during(lines);
    },
    onNotice: (line) => lines.push(line),
    graceMs: 500,
  };
  const code = await superviseLocal(launch);
  const pids = lines.flatMap((line) => /pid (\d+)/.exec(line)?.[1] ?? []).map(Number);
  return { code, lines, pids };
}

const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}`);

t.test("a launch ends with the coordinator's exit code and leaves no worker behind", async (t) => {
  for (const [how, code] of [
    ["done", 0],
    ["fails", 1],
  ] as const) {
    const played = await play(how, "patient", 2);
    t.equal(played.code, code, how);
    t.equal(played.pids.length, 2, "both workers said their pid");
    t.notOk(played.pids.some(isAlive), "none is alive");
  }
});

t.test("a coordinator that is killed fails the launch, however its workers end when they hear of it", async (t) => {
  const { code, lines, pids } = await play("killed", "obedient", 2);
  t.equal(code, 1);
  t.match(lines.at(-1), /ended by SIGKILL/);
  t.notOk(pids.some(isAlive));
});

t.test("workers' lines are relayed with their number, and secrets travel in the environment", async (t) => {
  const { lines } = await play("done", "patient", 2);
  t.ok(lines.includes("0: hello from a secret"));
  t.ok(lines.includes("1: hello from a secret"));
});

t.test("a worker that cannot join ends the launch with its own exit code", async (t) => {
  const { code, pids } = await play("waits", "broken", 1);
  t.equal(code, 2);
  t.notOk(pids.some(isAlive));
});

t.test("the first Ctrl-C asks the coordinator to stop", async (t) => {
  const { code, pids } = await play("waits", "patient", 1, (lines) => {
    if (lines.some((line) => line.includes("pid"))) process.emit("SIGINT", "SIGINT");
  });
  t.equal(code, 130);
  t.notOk(pids.some(isAlive));
});

t.test("the second Ctrl-C ends everything at once", async (t) => {
  const { code, lines, pids } = await play("deaf", "patient", 1, (seen) => {
    if (!seen.at(-1)?.includes("pid")) return;
    process.emit("SIGINT", "SIGINT");
    setTimeout(() => process.emit("SIGINT", "SIGINT"), 400);
  });
  t.equal(code, 130);
  t.match(lines.at(-1), /at once/);
  t.notOk(pids.some(isAlive));
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
