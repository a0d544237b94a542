import t from "tap";
import type { CoordinatorOptions } from "../src/coordinator-io.ts";
import { SuspectSamples } from "../src/suspect-samples.ts";
import { type DrivenCore, endIn, join, regroup, stepping, toldTo } from "./fixtures/core.ts";
import { held, idOf } from "./fixtures/messages.ts";

t.test("the second death on one seat and step is the samples'; others are nobody's", async (t) => {
  const first = { generation: 1, step: 7, seats: [2, 3] };
  const cases = [
    { name: "the same seat, in the next generation", second: { generation: 2, step: 7, seats: [0, 1, 2] }, seat: 2 },
    { name: "another seat", second: { generation: 2, step: 7, seats: [0, 1] }, seat: null },
    { name: "another step", second: { generation: 2, step: 8, seats: [2] }, seat: null },
    { name: "the same generation", second: { generation: 1, step: 7, seats: [3] }, seat: null },
  ];
  for (const { name, second, seat } of cases) {
    const suspects = new SuspectSamples();
    t.equal(suspects.lost(first.generation, first.step, first.seats, true), null, name);
    const found = suspects.lost(second.generation, second.step, second.seats, true);
    t.same(found, seat === null ? null : { step: 7, seat }, name);
  }
});

t.test("a step that is passed is innocent", async (t) => {
  const suspects = new SuspectSamples();
  suspects.lost(1, 7, [2], true);
  suspects.passed(8);
  suspects.passed(7);
  t.equal(suspects.lost(2, 7, [2], true), null);
});

t.test("of ranks that nobody saw dead the fourth is the samples', and one that was seen counts for two", async (t) => {
  const far = new SuspectSamples();
  for (const generation of [1, 2, 2, 3]) t.equal(far.lost(generation, 7, [2], false), null);
  t.same(far.lost(4, 7, [2], false), { step: 7, seat: 2 });
  const both = new SuspectSamples();
  t.equal(both.lost(1, 7, [2], false), null);
  t.equal(both.lost(2, 7, [2], true), null);
  t.same(both.lost(3, 7, [2], false), { step: 7, seat: 2 });
});

const asked: (readonly [number, number])[] = [];
const samplesOf: NonNullable<CoordinatorOptions["samplesOf"]> = (step, seat) => {
  asked.push([step, seat]);
  return Array.from({ length: 25 }, (_, i) => 100 + i);
};

/** Three ranks, of four seats; rank 2 has died at step 1, and the others try it again. */
function afterOneDeath(): DrivenCore {
  const driven = stepping({ ranks: 3, samplesOf });
  for (const index of [0, 1, 2]) driven.say(index, held(1));
  t.equal(endIn(driven.close(2, { isDead: true })), undefined);
  for (const index of [0, 1]) regroup(driven, index, 1);
  return driven;
}

t.test("the second rank that dies at the same samples ends the run, which names them", async (t) => {
  const driven = afterOneDeath();
  const effects = driven.close(1, { isDead: true });
  t.match(endIn(effects), {
    exitCode: 1,
    code: "SAMPLES_KILL",
    message: /seat 3 of step 2, whose samples are 100, 101,/,
  });
  t.match(endIn(effects)?.message, /119 and 5 more; .*look at them/);
  t.same(asked, [[1, 3]]);
  t.match(toldTo(0, effects), [{ type: "CoordinatorAbort", code: "SAMPLES_KILL" }]);
});

t.test("a death after the step was done is another", async (t) => {
  const driven = afterOneDeath();
  for (const index of [0, 1]) driven.say(index, held(2, { generation: 2 }));
  t.equal(endIn(driven.close(1, { isDead: true })), undefined);
});

for (const [name, end] of [
  ["is sent away", (driven: DrivenCore) => driven.input({ type: "malformed", connection: 11, code: "X", message: "" })],
  ["leaves", (driven: DrivenCore) => [...driven.say(1, { type: "WorkerBye", reason: "" }), ...driven.close(1)]],
  ["drops its state", (driven: DrivenCore) => join({ ...driven, say: (_, message) => driven.say(1, message) }, 5)],
] as const)
  t.test(`a rank that ${name} does not die of its samples`, async (t) => {
    const driven = afterOneDeath();
    t.equal(endIn(end(driven)), undefined);
    t.match(driven.core.record, { kind: "opened", members: [idOf(0)] });
  });
