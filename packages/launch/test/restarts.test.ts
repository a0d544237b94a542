import t from "tap";
import {
  type CoordinatorEndKind,
  coordinatorLimits,
  countDeath,
  type Deaths,
  defaultDelayMs,
  judgeCoordinatorEnd,
  judgeDeaths,
  judgeWorkerEnd,
  noDeaths,
  type ProcessEnd,
  type RestartLimits,
  type WorkerEndKind,
  workerLimits,
} from "../src/restarts.ts";

const by = (how: number | NodeJS.Signals): ProcessEnd =>
  typeof how === "number" ? { code: how, signal: null } : { code: null, signal: how };
const notStarted: ProcessEnd = { code: null, signal: null };

const beforeJoining = { isFirst: true, wasReady: false };
const joined = { isFirst: true, wasReady: true };
const restarted = { isFirst: false, wasReady: false };
const rejoined = { isFirst: false, wasReady: true };

t.test("what the end of a worker means", async (t) => {
  const cases: [end: ProcessEnd, before: WorkerEndKind, joined: WorkerEndKind, restarted: WorkerEndKind][] = [
    [by("SIGKILL"), "unfit", "died", "died"],
    [by("SIGSEGV"), "unfit", "died", "died"],
    [by("SIGTERM"), "unfit", "left", "left"],
    [notStarted, "unfit", "died", "died"],
    [by(0), "over", "over", "over"],
    [by(1), "unfit", "died", "died"],
    [by(2), "unfit", "spoiled", "died"],
    [by(130), "unfit", "over", "over"],
    [by(134), "unfit", "died", "died"],
    [by(143), "unfit", "left", "left"],
  ];
  for (const [end, ...kinds] of cases) {
    const found = [beforeJoining, joined, restarted].map((life) => judgeWorkerEnd(end, life));
    t.same(found, kinds, JSON.stringify(end));
    t.equal(judgeWorkerEnd(end, rejoined), kinds[1], "one that joined again is as good as one that joined");
  }
});

t.test("what the end of a coordinator means", async (t) => {
  const cases: [end: ProcessEnd, before: CoordinatorEndKind, listening: CoordinatorEndKind][] = [
    [by("SIGKILL"), "over", "died"],
    [by("SIGTERM"), "over", "over"],
    [notStarted, "over", "died"],
    [by(0), "over", "over"],
    [by(1), "over", "over"],
    [by(2), "over", "over"],
    [by(70), "over", "died"],
    [by(130), "over", "over"],
    [by(143), "over", "over"],
  ];
  for (const [end, before, listening] of cases) {
    t.equal(judgeCoordinatorEnd(end, beforeJoining), before, `at the first start: ${JSON.stringify(end)}`);
    for (const life of [joined, restarted, rejoined]) t.equal(judgeCoordinatorEnd(end, life), listening);
  }
});

/** Deaths at their moments, of processes that were ready for so long before, or never. */
const after = (lives: readonly (readonly [diedMs: number, readyForMs: number | null])[]): Deaths =>
  lives.reduce(
    (deaths, [diedMs, readyForMs]) => countDeath(deaths, diedMs, readyForMs === null ? undefined : diedMs - readyForMs),
    noDeaths,
  );
const judge = (deaths: Deaths, limits: RestartLimits = workerLimits) => {
  const next = judgeDeaths(deaths, limits, defaultDelayMs);
  return next.verdict === "restart" ? next.afterMs : next.reason;
};
const minute = 60_000;

t.test("restarts wait longer and longer, up to ten seconds, until a life was long", async (t) => {
  const short = (count: number) => Array.from({ length: count }, (_, k) => [k * minute, 29_999] as const);
  const waits = Array.from({ length: 9 }, (_, k) => judge(after(short(k + 1))));
  t.same(waits, [0, 500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000]);
  t.equal(judge(after([...short(5), [6 * minute, 30_000]])), 0, "a long life resets the wait");
  t.equal(judge(after([...short(5), [6 * minute, 30_000], [7 * minute, null]])), 500, "and the next death waits again");
});

t.test("what dies again and again is given up", async (t) => {
  const stillborn = (count: number) =>
    Array.from({ length: count }, (_, k) => [k * 10_000, k === 0 ? minute : null] as const);
  const shortLived = (count: number, everyMs: number) =>
    Array.from({ length: count }, (_, k) => [k * everyMs, 1000] as const);
  const cases: [what: string, deaths: Deaths, limits: RestartLimits, expected: number | string][] = [
    ["a worker's seventh death in a row", after(stillborn(7)), workerLimits, 10_000],
    ["its eighth", after(stillborn(8)), workerLimits, "it died 8 times in a row"],
    ["seven, a join, seven", after([...stillborn(7), ...stillborn(7)]), workerLimits, 10_000],
    ["a coordinator's fifth", after(stillborn(5)), coordinatorLimits, 4000],
    ["its sixth", after(stillborn(6)), coordinatorLimits, "it died 6 times in a row"],
    ["joins, and 19 deaths in five minutes", after(shortLived(19, 14_000)), workerLimits, 10_000],
    ["20", after(shortLived(20, 14_000)), workerLimits, "it died 20 times within 5 minutes"],
    ["20 of a coordinator", after(shortLived(20, 14_000)), coordinatorLimits, "it died 20 times within 5 minutes"],
    ["40, but slowly", after(shortLived(40, 16_000)), workerLimits, 10_000],
  ];
  for (const [what, deaths, limits, expected] of cases) t.equal(judge(deaths, limits), expected, what);
});
