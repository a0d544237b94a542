import type { WorkerMessage } from "@ringmaster/protocol";
import t from "tap";
import type { KnownWorker } from "../src/known-workers.ts";
import { LinkFaults } from "../src/link-faults.ts";
import {
  closedIn,
  connectionOf,
  type DrivenCore,
  eventsIn,
  join,
  recordsIn,
  regroup,
  regrouping,
  stepping,
} from "./fixtures/core.ts";
import { helloOf, idOf } from "./fixtures/messages.ts";

const blameMs = 100;

t.test("a failure is due once it has waited long enough, and once only", async (t) => {
  const faults = new LinkFaults();
  faults.failed("a", "b", 1, "the link ended", 1000);
  t.equal(faults.due(1, 1099, blameMs), undefined);
  t.match(faults.due(1, 1100, blameMs), { between: ["a", "b"], message: "the link ended", isRepeated: false });
  t.equal(faults.due(1, 9999, blameMs), undefined);
});

t.test("what failed in a generation that is over is not due: the next has other links", async (t) => {
  const faults = new LinkFaults();
  faults.failed("a", "b", 1, "the link ended", 0);
  t.equal(faults.due(2, 1000, blameMs), undefined);
  t.equal(faults.due(1, 1000, blameMs), undefined);
});

const inARow: readonly {
  name: string;
  first: [string, string | null];
  gap: number;
  second: [string, string | null];
  isRepeated: boolean;
}[] = [
  { name: "the same link in the next generation", first: ["a", "b"], gap: 1, second: ["a", "b"], isRepeated: true },
  { name: "the same, said by the other end", first: ["a", "b"], gap: 1, second: ["b", "a"], isRepeated: true },
  { name: "the same, but not in a row", first: ["a", "b"], gap: 2, second: ["a", "b"], isRepeated: false },
  { name: "another link", first: ["a", "b"], gap: 1, second: ["b", "c"], isRepeated: false },
  { name: "one whose other end is not known", first: ["a", null], gap: 1, second: ["a", null], isRepeated: false },
];
for (const { name, first, gap, second, isRepeated } of inARow)
  t.test(`${name} is ${isRepeated ? "" : "not "}taken for a pair that cannot reach each other`, async (t) => {
    const faults = new LinkFaults();
    faults.failed(...first, 4, "", 0);
    faults.failed(...([second[0], second[1]] as const), 4 + gap, "", 0);
    t.match(faults.due(4 + gap, 1000, blameMs), { isRepeated });
  });

t.test("it knows whom a neighbour has lost, in this generation", async (t) => {
  const faults = new LinkFaults();
  faults.failed("a", "b", 3, "", 0);
  t.same([faults.names("b", 3), faults.names("a", 3), faults.names("b", 4)], [true, false, false]);
});

t.test("two that cannot reach each other are no neighbours, where there are enough ranks", async (t) => {
  const faults = new LinkFaults();
  const five = ["a", "b", "c", "d", "e"];
  t.same(faults.order(five), five);
  t.equal(faults.seatApart("b", "c", ["a", "b", "c"]), false);
  t.same(faults.order(["a", "b", "c"]), ["a", "b", "c"], "what cannot be is not remembered");
  t.equal(faults.seatApart("b", "c", five), true);
  t.equal(faults.seatApart("a", "e", five), true, "the ring has no ends");
  const order = faults.order(five);
  t.same([...order].sort(), five);
  for (const [one, other] of ["bc", "ae"].map((pair) => pair.split(""))) {
    const apart = Math.abs(order.indexOf(one ?? "") - order.indexOf(other ?? ""));
    t.ok(apart > 1 && apart < 4, `${one} and ${other} in ${order}`);
  }
  faults.forget("c");
  faults.forget("a");
  t.same(faults.order(five), five, "another worker in their place is no neighbour's enemy");
});

/** As far as a link's ends are looked at. */
const workerOf = (id: string, index: number): KnownWorker => ({
  ...{ id, hello: helloOf(index), ready: undefined, connection: undefined, heardMs: 0, awayMs: undefined, busyMs: 0 },
  ...{ bye: undefined, isLeftOut: false },
});
const [a, b] = [workerOf("a", 0), workerOf("b", 1)];

t.test("whose links with others failed too is the one to leave out", async (t) => {
  const faults = new LinkFaults();
  faults.failed("a", "b", 4, "", 0);
  t.equal(faults.worseOf(a, b, 4), b);
  faults.failed("a", "c", 4, "", 0);
  t.equal(faults.worseOf(a, b, 5), a);
  t.equal(faults.worseOf(a, b, 9), b, "what failed long ago does not count");
});

t.test("whoever was left out before is left out again, under another id too", async (t) => {
  const faults = new LinkFaults();
  faults.leaveOut(a, 0);
  const again = workerOf("another", 0);
  t.equal(faults.worseOf(again, b, 9), again);
  t.equal(faults.worseOf(b, again, 9), again);
});

t.test("one is left out twice as long each time, up to ten minutes, and anew after a good while", async (t) => {
  const faults = new LinkFaults();
  t.equal(faults.isLeftOut(a, 0), false);
  let now = 0;
  for (const seconds of [20, 40, 80, 160, 320, 600, 600]) {
    t.equal(faults.leaveOut(a, now), seconds * 1000);
    t.same([faults.isLeftOut(a, now + 19_999), faults.isLeftOut(b, now)], [true, false]);
    now += seconds * 1000;
    t.equal(faults.isLeftOut(a, now), false);
  }
  t.equal(faults.leaveOut(a, now + 600_001), 20_000);
});

const linkLost = (generation: number, peer: number | null = 2): WorkerMessage => ({
  type: "WorkerLinkLost",
  generation,
  peer: peer === null ? null : idOf(peer),
  message: "the link ended",
});
const three = { ranks: 3 };
const proceedFrom = (driven: DrivenCore, indexes: readonly number[], step: number) =>
  indexes.flatMap((index) => regroup(driven, index, step));

t.test("a link that fails while both ends live is made anew, by another generation of the same members", async (t) => {
  const driven = stepping(three);
  t.same(driven.say(1, linkLost(1), 0), []);
  t.same(driven.input({ type: "tick" }, 99), []);
  const effects = driven.input({ type: "tick" }, 100);
  t.match(eventsIn(effects), [{ type: "regrouping", because: "rank 1 (pid 1001 on h1): the link ended" }]);
  t.match(recordsIn(effects), [{ members: [idOf(0), idOf(1), idOf(2)] }]);
});

t.test("the second time running two of four are seated apart", async (t) => {
  const driven = stepping({ ranks: 4 });
  driven.say(1, linkLost(1), 0);
  driven.input({ type: "tick" }, 100);
  proceedFrom(driven, [0, 1, 2, 3], 3);
  driven.say(1, linkLost(2), 200);
  t.match(recordsIn(driven.input({ type: "tick" }, 300)), [{ kind: "opened", generation: 3 }]);
  const records = proceedFrom(driven, [0, 1, 2, 3], 3).flatMap((effect) => recordsIn([effect]));
  const [record] = records;
  t.equal(record?.kind, "proceeding");
  t.equal(Math.abs((record?.members.indexOf(idOf(1)) ?? 0) - (record?.members.indexOf(idOf(2)) ?? 0)), 2);
});

t.test("of three, the second time running the other end is left out, and hung up on", async (t) => {
  const driven = stepping(three);
  driven.say(1, linkLost(1), 0);
  driven.input({ type: "tick" }, 100);
  proceedFrom(driven, [0, 1, 2], 3);
  t.equal(driven.core.record?.kind, "proceeding");
  driven.say(1, linkLost(2), 200);
  const effects = driven.input({ type: "tick" }, 300);
  t.match(eventsIn(effects), [{ type: "lost", workerId: idOf(2), because: /two generations running/ }, {}]);
  t.same(closedIn(effects), [connectionOf(2)]);
  t.match(recordsIn(effects), [{ kind: "opened", generation: 3, members: [idOf(0), idOf(1)] }]);
});

t.test("a death explains it: the dead is lost at once, and nobody else", async (t) => {
  const named = stepping(three);
  named.say(1, linkLost(1), 0);
  t.match(recordsIn(named.close(2, {}, 50)), [{ members: [idOf(0), idOf(1)] }], "the link first");
  t.same(recordsIn(named.input({ type: "tick" }, 200)), []);
  const closed = stepping(three);
  t.same(closed.close(2, {}, 0), []);
  t.match(recordsIn(closed.say(1, linkLost(1), 50)), [{ members: [idOf(0), idOf(1)] }], "its connection first");
});

t.test("a copy that failed leads to another generation too", async (t) => {
  const driven = stepping();
  join(driven, 2);
  for (const index of [0, 1]) regroup(driven, index, 4);
  regroup(driven, 2);
  driven.say(2, linkLost(2, 0), 0);
  t.match(recordsIn(driven.input({ type: "tick" }, 100)), [{ kind: "opened", generation: 3 }]);
});

t.test("what is said of links of another generation, or by no member, is nothing", async (t) => {
  const driven = stepping(three);
  join(driven, 3);
  for (const [index, generation] of [
    [1, 1],
    [1, 9],
    [3, 7],
  ] as const)
    t.same(driven.say(index, linkLost(generation), 0), []);
  t.same(recordsIn(driven.input({ type: "tick" }, 1000)), []);
  t.same(regrouping().say(0, linkLost(0), 0), []);
});
