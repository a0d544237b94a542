import t from "tap";
import type { CoordinatorEffect } from "../src/coordinator-io.ts";
import { defaultLimits, judge } from "../src/liveness.ts";
import {
  closedIn,
  connectionOf,
  type DrivenCore,
  endIn,
  eventsIn,
  gathering,
  greet,
  join,
  preparing,
  proceedingOf,
  recordsIn,
  recoveredWith,
  stepping,
} from "./fixtures/core.ts";
import { heartbeat, held, idOf } from "./fixtures/messages.ts";

const limits = defaultLimits;
const alive = { heardMs: 10_000, awayMs: undefined, busyMs: 0 };
const verdicts: readonly {
  name: string;
  signs?: Partial<Parameters<typeof judge>[0]>;
  now: number;
  stepMs?: number;
  because: RegExp | null;
}[] = [
  { name: "was just heard", now: 10_000, because: null },
  { name: "is silent for less than 3 s", now: 12_999, because: null },
  { name: "is silent for 3 s", now: 13_000, because: /said nothing for 3000 ms/ },
  { name: "is away for less than half a second", signs: { awayMs: 10_000 }, now: 10_499, because: null },
  { name: "does not come back", signs: { awayMs: 10_000 }, now: 10_500, because: /did not come back in 500 ms/ },
  { name: "computes, before there is any measure", signs: { busyMs: 899_999 }, now: 10_000, because: null },
  { name: "is stuck, before there is any measure", signs: { busyMs: 900_000 }, now: 10_000, because: /900000 ms$/ },
  {
    name: "is at a fast step for a minute",
    signs: { busyMs: 60_000 },
    now: 10_000,
    stepMs: 20,
    because: /at most 20 ms/,
  },
  { name: "is at a fast step for less", signs: { busyMs: 59_999 }, now: 10_000, stepMs: 20, because: null },
  { name: "is at a slow step", signs: { busyMs: 199_999 }, now: 10_000, stepMs: 10_000, because: null },
  {
    name: "is at twenty times a slow step",
    signs: { busyMs: 200_000 },
    now: 10_000,
    stepMs: 10_000,
    because: /10000 ms/,
  },
  { name: "is at the slowest of steps", signs: { busyMs: 900_000 }, now: 10_000, stepMs: 1e6, because: /1000000 ms/ },
];
for (const { name, signs, now, stepMs, because } of verdicts)
  t.test(`a worker that ${name} is ${because ? "lost" : "alive"}`, async (t) => {
    const found = judge({ ...alive, ...signs }, now, stepMs, limits);
    if (because) t.match(found, because);
    else t.equal(found, null);
  });

/** Ticks twice a second; these workers alone go on talking. */
function ticks(
  driven: DrivenCore,
  fromMs: number,
  untilMs: number,
  talking: readonly number[],
  busyMs = 0,
): CoordinatorEffect[] {
  const effects: CoordinatorEffect[] = [];
  for (let now = fromMs; now <= untilMs; now += 500) {
    for (const index of talking) effects.push(...driven.say(index, heartbeat(busyMs), now));
    effects.push(...driven.input({ type: "tick" }, now));
  }
  return effects;
}

t.test("a member that is silent is lost, named, and hung up on; the others regroup", async (t) => {
  const driven = stepping();
  t.same(ticks(driven, 500, 2500, [0]), []);
  const effects = ticks(driven, 3000, 3000, [0]);
  t.match(eventsIn(effects), [
    { type: "lost", workerId: idOf(1), peer: "rank 1 (pid 1001 on h1)", because: "it has said nothing for 3000 ms" },
    { type: "regrouping", generation: 2, members: 1 },
  ]);
  t.same(closedIn(effects), [connectionOf(1)], "it finds that out when it wakes up");
  t.match(recordsIn(effects), [{ kind: "opened", members: [idOf(0)] }]);
  t.same(endIn(effects), undefined);
});

t.test("a worker that is silent while it prepares is let go", async (t) => {
  const driven = preparing();
  t.match(eventsIn(ticks(driven, 500, 3000, [0])), [{ type: "left", message: /said nothing/ }]);
});

t.test("a member whose compute threads are stuck is lost, though it talks", async (t) => {
  const driven = stepping();
  for (let step = 1; step <= 8; step++) for (const index of [0, 1]) driven.say(index, held(step));
  t.same(ticks(driven, 500, 1000, [0, 1], 59_000), []);
  driven.say(1, heartbeat(60_000), 1400);
  t.match(eventsIn(driven.input({ type: "tick" }, 1500)), [
    { type: "lost", because: /60000 ms, where a step takes/ },
    {},
  ]);
});

t.test("a member whose connection is lost has half a second to come back", async (t) => {
  const driven = stepping();
  t.same(driven.close(1, {}, 100), []);
  t.same(driven.input({ type: "tick" }, 599), []);
  greet(driven, 1, "stepping", { generation: 1, step: 3 }, 599);
  t.same(driven.input({ type: "tick" }, 700), []);
  driven.close(1, {}, 800);
  t.match(eventsIn(driven.input({ type: "tick" }, 1300)), [
    { type: "lost", because: "its connection is lost, and it did not come back in 500 ms" },
    { type: "regrouping" },
  ]);
});

t.test("a member whose process is gone is lost at once", async (t) => {
  const effects = stepping().close(1, { isDead: true });
  t.match(recordsIn(effects), [{ kind: "opened", generation: 2, members: [idOf(0)] }]);
});

t.test("a coordinator that was late itself judges nobody", async (t) => {
  const driven = stepping();
  driven.close(1, {}, 100);
  t.same(driven.input({ type: "tick" }, 60_000), [], "what was said meanwhile may wait to be read");
  t.same(driven.input({ type: "tick" }, 60_499), []);
  t.match(eventsIn(driven.input({ type: "tick" }, 60_500)), [{ type: "lost" }, {}], "from then on time counts again");
});

t.test("where nobody is left of whom it is sure, the world waits a minute for one of them", async (t) => {
  const driven = stepping();
  for (const index of [0, 1]) driven.close(index, {}, 0);
  t.match(recordsIn(ticks(driven, 500, 1000, [])), [{ kind: "opened", members: [idOf(1)] }]);
  t.same(recordsIn(join(driven, 2, 1000)), [], "a worker that comes holds nothing");
  t.same(recordsIn(ticks(driven, 1500, 60_500, [2])), []);
  t.match(recordsIn(ticks(driven, 61_000, 61_500, [2])), [{ kind: "opened", members: [idOf(2)] }]);
});

t.test("one that comes back in that minute brings its state with it", async (t) => {
  const driven = stepping();
  for (const index of [0, 1]) driven.close(index, {}, 0);
  join(driven, 2, 0);
  ticks(driven, 500, 30_000, [2]);
  const effects = greet(driven, 1, "stepping", { generation: 1, step: 3 }, 30_100);
  t.match(recordsIn(effects), [{ kind: "opened", members: [idOf(1), idOf(2)] }]);
});

t.test("a member that holds nothing yet does not go on without those that may hold something", async (t) => {
  const driven = stepping();
  join(driven, 2, 0);
  for (const index of [0, 1]) driven.close(index, {}, 0);
  t.match(recordsIn(ticks(driven, 500, 1000, [2])), [{ kind: "opened", members: [idOf(1), idOf(2)] }]);
  t.same(recordsIn(ticks(driven, 1500, 60_500, [2])), []);
  t.match(recordsIn(ticks(driven, 61_000, 61_500, [2])), [{ kind: "opened", members: [idOf(2)] }]);
});

const restarted = () => gathering(recoveredWith(proceedingOf([0, 1], { step: 4 })));

t.test("after a restart the others have two and a half seconds, once one member is back", async (t) => {
  const driven = restarted();
  t.same(recordsIn(ticks(driven, 500, 20_000, [])), []);
  greet(driven, 0, "stepping", { generation: 1, step: 6 }, 20_000);
  t.same(recordsIn(ticks(driven, 20_500, 22_000, [0])), []);
  t.match(eventsIn(ticks(driven, 22_500, 22_500, [0])), [{ type: "regrouping", generation: 2, members: 1 }]);
});

t.test("after a restart a spare that comes first does not hurry the members", async (t) => {
  const driven = restarted();
  greet(driven, 2, "spare", {}, 100);
  t.same(recordsIn(ticks(driven, 500, 30_000, [2])), []);
  greet(driven, 0, "stepping", { generation: 1, step: 6 }, 30_100);
  const effects = greet(driven, 1, "stepping", { generation: 1, step: 6 }, 30_200);
  t.match(recordsIn(effects), [{ kind: "opened", members: [idOf(0), idOf(1), idOf(2)] }], "and joins them");
});

t.test("after a restart with spares alone the run goes on from the checkpoint after a minute", async (t) => {
  const driven = restarted();
  greet(driven, 2, "spare", {}, 100);
  t.same(eventsIn(ticks(driven, 500, 60_000, [2])), [], "nor is it said that anything goes on");
  t.match(recordsIn(ticks(driven, 60_500, 61_000, [2])), [{ kind: "opened", generation: 2, members: [idOf(2)] }]);
});
