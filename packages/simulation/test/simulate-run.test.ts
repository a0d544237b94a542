import t from "tap";
import { scalingCurve, scalingPicture, simulateRun } from "../src/index.ts";

const cluster = { stepMs: 100, modelBytes: 4e6, latencyMs: 0.1, gbit: 10 };

t.test("without faults a run makes all the steps that fit into its time", async (t) => {
  const report = simulateRun({ ...cluster, ranks: 8, seats: 8, seed: 1, hours: 0.02, faultRate: 0 });
  t.match(report, { faults: 0, recoveries: { death: 0, hang: 0, link: 0, join: 0, leave: 0, coordinator: 0 } });
  t.ok(report.goodput > 0.98 && report.goodput <= 1, `goodput ${report.goodput}`);
  t.ok(report.bytesOverOptimum >= 1 && report.bytesOverOptimum < 1.01);
  t.ok(report.wireOverOptimum >= 1 && report.wireMs > 0, `${report.wireOverOptimum} times the optimum`);
  t.ok(report.scalingEfficiency > 0.9 && report.scalingEfficiency <= 1);
});

t.test("faults cost steps, are recovered from, and the same seed has the same ones", async (t) => {
  const options = { ...cluster, ranks: 16, seats: 16, seed: 5, hours: 0.1, faultRate: 10 };
  const report = simulateRun(options);
  t.ok(report.faults > 3);
  t.ok(report.recoveries.death + report.recoveries.hang > 1);
  t.ok(report.recoveries.join > 0);
  t.ok(report.goodput < 1 && report.goodput > 0.2);
  t.same(simulateRun(options), report);
});

t.test("the report is data that JSON carries whole", async (t) => {
  const report = simulateRun({ ...cluster, ranks: 4, seats: 6, seed: 1, hours: 0.01, faultRate: 0 });
  t.same(JSON.parse(JSON.stringify(report)), report);
  const numbers = [
    ...[
      "seed",
      "ranks",
      "seats",
      "hours",
      "faults",
      "steps",
      "stepMs",
      "goodput",
      "longestRecoveryMs",
      "scalingEfficiency",
    ],
    ...["bytesSentPerStep", "bytesOverOptimum", "wireMs", "wireOverOptimum", "waitMs", "events", "traceHash"],
  ];
  t.same(Object.keys(report).sort(), [...numbers, "recoveries", "topology"].sort());
  for (const [name, value] of Object.entries(report)) if (numbers.includes(name)) t.ok(Number.isFinite(value), name);
});

t.test("efficiency falls with the ranks and with slower links, and one rank waits for nobody", async (t) => {
  const ranks = [1, 2, 4, 16, 64];
  const fast = scalingCurve(cluster, ranks);
  const slow = scalingCurve({ ...cluster, gbit: 1, latencyMs: 1 }, ranks);
  t.match(fast[0], { ranks: 1, efficiency: 1, waitMs: 0, bytesSent: 0, wireMs: 0 });
  for (const [index, point] of fast.entries()) {
    t.ok(point.efficiency <= (fast[index - 1]?.efficiency ?? 1));
    t.ok((slow[index]?.efficiency ?? 2) <= point.efficiency);
  }
});

t.test("the picture has a point for each number of ranks", async (t) => {
  const points = scalingCurve(cluster, [1, 2, 4]);
  const picture = scalingPicture(points, "A < B");
  t.match(picture, /^<svg .*<\/svg>\n$/s);
  t.equal(picture.match(/<circle /g)?.length, 3);
  t.match(picture, "A &lt; B");
});
