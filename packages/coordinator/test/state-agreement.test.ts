import t from "tap";
import { StateAgreement } from "../src/state-agreement.ts";

const cases = [
  { name: "all the same", hashes: ["a", "a", "a"], differ: null },
  { name: "one alone", hashes: ["a"], differ: null },
  { name: "the first is odd", hashes: ["b", "a", "a"], differ: { agreed: "a", odd: [{ rank: 0, hash: "b" }] } },
  { name: "the last is odd", hashes: ["a", "a", "b"], differ: { agreed: "a", odd: [{ rank: 2, hash: "b" }] } },
  {
    name: "two are odd, each in its way",
    hashes: ["a", "b", "a", "c", "a"],
    differ: {
      agreed: "a",
      odd: [
        { rank: 1, hash: "b" },
        { rank: 3, hash: "c" },
      ],
    },
  },
  {
    name: "two that differ: nobody knows which is right",
    hashes: ["a", "b"],
    differ: {
      agreed: null,
      odd: [
        { rank: 0, hash: "a" },
        { rank: 1, hash: "b" },
      ],
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
        const found = agreement.report(rank, 5, hashes[rank] ?? "", hashes.length);
        t.same(found, rank === last ? differ : null, `after rank ${rank}`);
      }
    });

t.test("a rank's own hash is known as soon as it is reported, and stays known", async (t) => {
  const agreement = new StateAgreement();
  t.equal(agreement.hashOf(0, 1), undefined);
  agreement.report(0, 1, "a", 2);
  t.equal(agreement.hashOf(0, 1), "a");
  t.equal(agreement.hashOf(1, 1), undefined);
  agreement.report(1, 1, "a", 2);
  for (let step = 2; step < 100; step++) for (const rank of [0, 1]) agreement.report(rank, step, "b", 2);
  t.equal(agreement.hashOf(0, 1), "a", "its state may still wait to be sent");
});
