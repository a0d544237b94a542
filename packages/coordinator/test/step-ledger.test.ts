import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { StepLedger, type StepReport } from "../src/step-ledger.ts";
import { held, stateIdOf } from "./fixtures/messages.ts";

const stepsOf = (reports: readonly StepReport[]) => reports.map(({ step }) => step);

t.test("a step is committed when the last rank holds it", async (t) => {
  const ledger = new StepLedger(0);
  t.same(ledger.held("a", held(1), 3), []);
  t.same(ledger.held("c", held(1), 3), []);
  t.equal(ledger.committed, 0);
  t.match(ledger.held("b", held(1), 3), [{ step: 1, stateId: stateIdOf(1), tail: held(1).tail }]);
  t.equal(ledger.committed, 1);
});

t.test("a rank that says it twice counts once", async (t) => {
  const ledger = new StepLedger(0);
  ledger.held("a", held(1), 2);
  t.same(ledger.held("a", held(1), 2), []);
});

t.test("ranks one step apart commit in order, whoever is heard first", async (t) => {
  const ledger = new StepLedger(0);
  for (const step of [1, 2]) t.same(ledger.held("a", held(step), 2), []);
  t.same(stepsOf(ledger.held("b", held(1), 2)), [1]);
  t.same(stepsOf(ledger.held("b", held(2), 2)), [2]);
});

t.test("a report takes the slowest rank's times, field by field, and the largest rank's memory", async (t) => {
  const ledger = new StepLedger(4);
  const slowHere = { dataMs: 9, computeMs: 1, communicationMs: 5, optimizerMs: 2 };
  const slowThere = { dataMs: 1, computeMs: 8, communicationMs: 4, optimizerMs: 3 };
  ledger.held("a", held(5, { timing: slowHere, memoryBytes: 70 }), 2);
  t.same(ledger.held("b", held(5, { timing: slowThere, memoryBytes: 60 }), 2), [
    {
      step: 5,
      stateId: stateIdOf(5),
      tail: held(5).tail,
      timing: { dataMs: 9, computeMs: 8, communicationMs: 5, optimizerMs: 3 },
      memoryBytes: 70,
    },
  ]);
});

t.test("steps that are committed already, the resumed ones too, are not committed again", async (t) => {
  const ledger = new StepLedger(10);
  t.same(ledger.held("a", held(10), 1), []);
  t.same(stepsOf(ledger.held("a", held(11), 1)), [11]);
  t.same(ledger.held("a", held(11), 1), []);
});

t.test("what was said of an attempt that is over does not count for the next", async (t) => {
  const ledger = new StepLedger(0);
  ledger.held("a", held(1), 2);
  t.same(ledger.held("b", held(1, { generation: 2 }), 2), [], "another state");
  t.match(ledger.held("a", held(1, { generation: 2 }), 2), [{ step: 1, stateId: stateIdOf(1, 2) }]);
});

t.test(
  "where the world proceeds from a step, it is committed by whoever has said it, and later ones are forgotten",
  async (t) => {
    const ledger = new StepLedger(0);
    for (const step of [1, 2, 3]) ledger.held("a", held(step), 2);
    t.same(stepsOf(ledger.proceed(2)), [1, 2]);
    t.same(ledger.held("b", held(3), 2), [], "what the other said of step 3 is void");
  },
);

t.test("what is said of a step only after the world has proceeded from it commits it at once", async (t) => {
  const ledger = new StepLedger(0);
  t.same(ledger.proceed(2), []);
  t.same(stepsOf(ledger.held("a", held(1), 3)), [1]);
  t.same(stepsOf(ledger.held("a", held(2), 3)), [2]);
  t.same(ledger.held("a", held(3), 3), []);
});

t.test("a step beyond a gap waits for whoever may fill it", async (t) => {
  const ledger = new StepLedger(5);
  ledger.proceed(8);
  for (const step of [8, 9]) t.same(ledger.held("late", held(step), 2), []);
  t.same(stepsOf([6, 7, 8, 9].flatMap((step) => ledger.held("early", held(step), 2))), [6, 7, 8, 9]);
});

t.test("a gap that nobody fills is passed over once all have said a later step", async (t) => {
  const ledger = new StepLedger(5);
  ledger.proceed(8);
  for (const step of [8, 9]) t.same(ledger.held("late", held(step), 2), []);
  t.same(stepsOf(ledger.held("later", held(9), 2)), [8, 9]);
});

t.test("a world that goes back commits the steps after it anew", async (t) => {
  const ledger = new StepLedger(0);
  for (const step of [1, 2, 3]) ledger.held("a", held(step), 1);
  ledger.restore(1);
  t.equal(ledger.committed, 1);
  t.same(stepsOf(ledger.held("a", held(2, { generation: 2 }), 1)), [2]);
});

t.test("whatever the order between ranks, every step is committed once and in order", async (t) => {
  const steps = 8;
  const arrivals = fc.integer({ min: 1, max: 5 }).chain((ranks) =>
    fc.record({
      ranks: fc.constant(ranks),
      order: fc.shuffledSubarray(
        Array.from({ length: ranks * steps }, (_, i) => i % ranks),
        { minLength: ranks * steps },
      ),
      /** Steps that the world has proceeded from, as a restarted coordinator finds it. */
      proven: fc.nat(steps),
    }),
  );
  const messages = Array.from({ length: steps }, (_, i) => held(i + 1));
  fc.assert(
    fc.property(arrivals, ({ ranks, order, proven }) => {
      const ledger = new StepLedger(0);
      ledger.proceed(proven);
      const next = new Array<number>(ranks).fill(0);
      const committed = order.flatMap((rank) => {
        const message = messages[next[rank] ?? 0];
        next[rank] = (next[rank] ?? 0) + 1;
        return message ? stepsOf(ledger.held(String(rank), message, ranks)) : [];
      });
      assert.deepEqual(
        committed,
        messages.map(({ step }) => step),
      );
    }),
  );
  t.pass();
});
