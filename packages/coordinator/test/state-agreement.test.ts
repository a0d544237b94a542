import t from "tap";
import { StateAgreement } from "../src/state-agreement.ts";

const a = { worker: "0", hash: "a" };
const cases = [
  { name: "all the same", hashes: ["a", "a", "a"], differ: null },
  { name: "one alone", hashes: ["a"], differ: null },
  { name: "the first is odd", hashes: ["b", "a", "a"], differ: { agreed: "a", odd: [{ worker: "0", hash: "b" }] } },
  { name: "the last is odd", hashes: ["a", "a", "b"], differ: { agreed: "a", odd: [{ worker: "2", hash: "b" }] } },
  {
    name: "two are odd, each in its way",
    hashes: ["a", "b", "a", "c", "a"],
    differ: {
      agreed: "a",
      odd: [
        { worker: "1", hash: "b" },
        { worker: "3", hash: "c" },
      ],
    },
  },
  {
    name: "two that differ: nobody knows which is right",
    hashes: ["a", "b"],
    differ: { agreed: null, odd: [a, { worker: "1", hash: "b" }] },
  },
  {
    name: "most have the same, but not more than half",
    hashes: ["a", "a", "b", "c"],
    differ: {
      agreed: null,
      odd: [a, { worker: "1", hash: "a" }, { worker: "2", hash: "b" }, { worker: "3", hash: "c" }],
    },
  },
];
for (const { name, hashes, differ } of cases)
  for (const [order, ranks] of [
    ["in order", [...hashes.keys()]],
    ["backwards", [...hashes.keys()].reverse()],
  ] as const)
    t.test(`states are compared once all are in, ${order}: ${name}`, async (t) => {
      const agreement = new StateAgreement();
      const last = ranks.at(-1);
      for (const rank of ranks) {
        const found = agreement.report(String(rank), 5, hashes[rank] ?? "", hashes.length);
        if (rank !== last || differ === null) t.equal(found, null, `after rank ${rank}`);
        else {
          t.match(found, { step: 5, agreed: differ.agreed });
          t.same(
            found?.odd.toSorted((x, y) => x.worker.localeCompare(y.worker)),
            differ.odd,
          );
        }
      }
      t.equal(agreement.agreedOn(5), differ === null ? "a" : undefined);
      t.notOk(agreement.isOpen(5));
    });

t.test("what all agree on is known once all have said it, and stays known: a state may come long after", async (t) => {
  const agreement = new StateAgreement();
  agreement.report("a", 1, "x", 2);
  t.same([agreement.isOpen(1), agreement.agreedOn(1)], [true, undefined]);
  agreement.report("b", 1, "x", 2);
  t.same([agreement.isOpen(1), agreement.agreedOn(1)], [false, "x"]);
  for (let step = 2; step < 1000; step++) for (const worker of ["a", "b"]) agreement.report(worker, step, "y", 2);
  t.equal(agreement.agreedOn(1), "x");
});

t.test("another generation compares anew, and what it does over is not agreed on any more", async (t) => {
  const agreement = new StateAgreement();
  for (const step of [4, 5]) for (const worker of ["a", "b"]) agreement.report(worker, step, "x", 2);
  agreement.report("a", 6, "x", 2);
  agreement.proceed(4);
  t.same([agreement.agreedOn(4), agreement.agreedOn(5), agreement.isOpen(6)], ["x", undefined, false]);
  t.equal(agreement.report("b", 6, "y", 2), null);
});
