import type { WorkerEvaluated, WorkerHeld, WorkerStateHash } from "@ringmaster/protocol";
import t from "tap";
import { type KeptMessage, Outbox } from "../src/outbox.ts";
import { evaluationOf, hash, idAfter, stepHeld } from "./fixtures/messages.ts";

const held = (step: number, generation = 1): WorkerHeld => {
  const { tail, timing, memoryBytes } = stepHeld();
  const receipt = [...tail.receipt];
  return {
    type: "WorkerHeld",
    generation,
    step,
    stateId: idAfter(step),
    tail: { ...tail, receipt },
    timing,
    memoryBytes,
  };
};
const hashOf = (step: number): WorkerStateHash => ({ type: "WorkerStateHash", generation: 1, step, hash: hash("e") });
const evaluated = (step: number, split: "validation" | "test", generation = 1): WorkerEvaluated => ({
  type: "WorkerEvaluated",
  generation,
  step,
  evaluation: evaluationOf(split, 60),
});
const filled = (...messages: readonly KeptMessage[]) => {
  const outbox = new Outbox();
  for (const message of messages) outbox.add(message);
  return outbox;
};
const everything = [held(1), held(2), evaluated(2, "validation"), hashOf(2), evaluated(2, "test"), held(3)];

t.test("what was said is said again in its order", async (t) => {
  const outbox = filled(...everything);
  t.same(outbox.all(), everything);
  t.same(outbox.evaluations(), [evaluated(2, "validation"), evaluated(2, "test")]);
});

t.test(
  "whoever copies a state takes what was said of its steps over, in their order, and says its own where it has one",
  async (t) => {
    const history = filled(...everything).historyOf(2);
    t.same(history, [held(1), held(2), evaluated(2, "validation"), evaluated(2, "test")]);
    const joined = filled();
    joined.adopt(history);
    t.same(joined.all(), history);
    const behind = filled(held(1, 9), hashOf(1));
    behind.adopt(history);
    t.same(behind.all(), [held(1, 9), hashOf(1), ...history.slice(1)]);
    behind.kept(1);
    t.same(behind.all(), history.slice(1), "what is on disk goes as ever");
  },
);

t.test("what is on disk goes, and no more", async (t) => {
  const outbox = filled(...everything);
  outbox.kept(2);
  t.same(outbox.all(), [held(3)]);
  outbox.kept(1);
  t.same(outbox.all(), [held(3)]);
});

t.test("what an abandoned history said goes", async (t) => {
  const outbox = filled(...everything);
  outbox.rewind(1);
  t.same(outbox.all(), [held(1)]);
});

t.test("a boundary that is worked again says the same things once", async (t) => {
  const outbox = filled(evaluated(2, "validation", 1), evaluated(2, "test", 1), evaluated(2, "validation", 2));
  t.same(outbox.all(), [evaluated(2, "test", 1), evaluated(2, "validation", 2)]);
});

t.test("beyond its bound the oldest are let go, which is said once", async (t) => {
  const outbox = new Outbox(2);
  t.same(
    [1, 2, 3, 4].map((step) => outbox.add(held(step))),
    [false, false, true, false],
  );
  t.same(outbox.all(), [held(3), held(4)]);
  outbox.kept(3);
  t.same(
    [5, 6].map((step) => outbox.add(held(step))),
    [false, true],
  );
});
