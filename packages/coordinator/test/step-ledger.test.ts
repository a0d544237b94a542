import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { StepLedger } from "../src/step-ledger.ts";
import { held } from "./fixtures/messages.ts";

t.test("a step is committed when the last rank holds it", async (t) => {
  const ledger = new StepLedger(0);
  t.same(ledger.held(0, held(1), 3), []);
  t.same(ledger.held(2, held(1), 3), []);
  t.equal(ledger.committed, 0);
  t.match(ledger.held(1, held(1), 3), [{ step: 1, tail: held(1).tail }]);
  t.equal(ledger.committed, 1);
});

t.test("a rank that says it twice counts once", async (t) => {
  const ledger = new StepLedger(0);
  ledger.held(0, held(1), 2);
  t.same(ledger.held(0, held(1), 2), []);
});

t.test("ranks one step apart commit in order, whoever is heard first", async (t) => {
  const ledger = new StepLedger(0);
  t.same(ledger.held(0, held(1), 2), []);
  t.same(ledger.held(0, held(2), 2), []);
  t.same(
    ledger.held(1, held(1), 2).map(({ step }) => step),
    [1],
  );
  t.same(
    ledger.held(1, held(2), 2).map(({ step }) => step),
    [2],
  );
});

t.test("a report takes the slowest rank's times, field by field, and the largest rank's memory", async (t) => {
  const ledger = new StepLedger(4);
  const timings = [
    { dataMs: 9, computeMs: 1, communicationMs: 5, optimizerMs: 2 },
    { dataMs: 1, computeMs: 8, communicationMs: 4, optimizerMs: 3 },
  ];
  ledger.held(0, held(5, { timing: timings[0] ?? held(5).timing, memoryBytes: 70 }), 2);
  t.same(ledger.held(1, held(5, { timing: timings[1] ?? held(5).timing, memoryBytes: 60 }), 2), [
    {
      step: 5,
      tail: held(5).tail,
      timing: { dataMs: 9, computeMs: 8, communicationMs: 5, optimizerMs: 3 },
      memoryBytes: 70,
    },
  ]);
});

t.test("steps that are committed already, the resumed ones too, are not committed again", async (t) => {
  const ledger = new StepLedger(10);
  t.same(ledger.held(0, held(10), 1), []);
  t.same(
    ledger.held(0, held(11), 1).map(({ step }) => step),
    [11],
  );
  t.same(ledger.held(0, held(11), 1), []);
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
    }),
  );
  fc.assert(
    fc.property(arrivals, ({ ranks, order }) => {
      const ledger = new StepLedger(0);
      const next = new Array<number>(ranks).fill(1);
      const committed = order.flatMap((rank) => {
        const step = next[rank] ?? 0;
        next[rank] = step + 1;
        return ledger.held(rank, held(step), ranks).map((report) => report.step);
      });
      assert.deepEqual(
        committed,
        Array.from({ length: steps }, (_, i) => i + 1),
      );
    }),
  );
  t.pass();
});
