import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { readMetrics, type StepRecord } from "@ringmaster/telemetry";
import t, { type Test } from "tap";
import { MetricsSink } from "../src/run/metrics-sink.ts";

const row = (step: number): StepRecord => ({
  ...{ type: "step", step, epoch: 1, loss: 1, accuracy: 0.5, learningRate: 0.1, imagesPerSecond: 1000 },
  ...{ dataMs: 1, computeMs: 1, communicationMs: 1, optimizerMs: 1, samples: 8, receipt: [0, 0, 0, 0] },
});
const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);

function sinkOf(t: Test): { path: string; sink: MetricsSink } {
  const path = join(t.testdir({}), "metrics.jsonl");
  return { path, sink: new MetricsSink(path, { mayWrite: () => true, onError: (error) => t.fail(error.message) }) };
}

async function stepsIn(path: string): Promise<number[]> {
  const { records } = await readMetrics(path);
  return records.map(({ step }) => step);
}

t.test("a run that goes back has each step once, what came while the file was cut too", async (t) => {
  const { path, sink } = sinkOf(t);
  for (const step of upTo(8)) sink.append(row(step));
  await sink.flush();
  sink.goBackTo(4);
  t.ok(sink.keptThrough <= 4, "what it went back behind is not on disk any more");
  for (const step of [5, 6]) sink.append(row(step));
  await sink.close();
  t.same(await stepsIn(path), upTo(6));
});

t.test("so has one that goes back again before the file is cut", async (t) => {
  const { path, sink } = sinkOf(t);
  for (const step of upTo(8)) sink.append(row(step));
  await sink.flush();
  sink.goBackTo(6);
  sink.append(row(7));
  sink.goBackTo(4);
  for (let step = 5; step <= 100; step++) {
    sink.append(row(step));
    if (step % 10 === 0) await setTimeout(1);
  }
  await sink.close();
  t.same(await stepsIn(path), upTo(100));
});

t.test("so has one that goes back to its beginning", async (t) => {
  const { path, sink } = sinkOf(t);
  for (const step of upTo(8)) sink.append(row(step));
  await sink.flush();
  sink.goBackTo(0);
  await sink.flush();
  t.same(await stepsIn(path), []);
  for (const step of upTo(3)) sink.append(row(step));
  await sink.close();
  t.same(await stepsIn(path), upTo(3));
});
