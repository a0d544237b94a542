import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import t, { type Test } from "tap";
import {
  cutMetricsAfter,
  type EvaluationRecord,
  formatMetrics,
  type MetricsRecord,
  openMetricsFile,
  parseMetrics,
  readMetrics,
  type StepRecord,
  type TelemetryError,
} from "../src/index.ts";

function step(step: number, loss = 0.5): StepRecord {
  const spent = { dataMs: 1, computeMs: 20.25, communicationMs: 3, optimizerMs: 0.5 };
  return { type: "step", step, epoch: 1, loss, accuracy: 0.75, learningRate: 0.1, imagesPerSecond: 3586, ...spent };
}

function evaluation(step: number): EvaluationRecord {
  return { type: "evaluation", split: "validation", step, epoch: 1, loss: 0.4, accuracy: 0.8, samples: 5000 };
}

function lines(records: readonly MetricsRecord[]): string {
  return records.map((record) => `${formatMetrics(record)}\n`).join("");
}

function metricsPath(t: Test): string {
  return join(t.testdir({}), "metrics.jsonl");
}

t.test("a record is one line of JSON", async (t) => {
  t.equal(
    formatMetrics(evaluation(7)),
    '{"type":"evaluation","split":"validation","step":7,"epoch":1,"loss":0.4,"accuracy":0.8,"samples":5000}',
  );
});

t.test("what JSON cannot say is null, with its text beside it", async (t) => {
  const line = formatMetrics({ ...step(1, Number.NaN), learningRate: Number.NEGATIVE_INFINITY });
  t.match(JSON.parse(line), { loss: null, learningRate: null, nonFinite: { loss: "NaN", learningRate: "-Infinity" } });
  t.notMatch(formatMetrics(step(1)), "nonFinite");
});

t.test("property: what is written is read back, whatever the numbers", async (t) => {
  const number = fc.double().map((value) => value || 0); // JSON knows no -0.
  const count = fc.nat();
  const position = { step: count, epoch: count, loss: number, accuracy: number };
  const times = { dataMs: number, computeMs: number, communicationMs: number, optimizerMs: number };
  const step = {
    type: fc.constant("step" as const),
    ...position,
    learningRate: number,
    imagesPerSecond: number,
    ...times,
  };
  const evaluation = {
    type: fc.constant("evaluation" as const),
    split: fc.string({ unit: "binary" }),
    ...position,
    samples: count,
  };
  const options = { noNullPrototype: true } as const;
  const record: fc.Arbitrary<MetricsRecord> = fc.oneof(fc.record(step, options), fc.record(evaluation, options));
  fc.assert(
    fc.property(record, (record) => {
      const line = formatMetrics(record);
      return !line.includes("\n") && isDeepStrictEqual(parseMetrics(line, "x:1"), record);
    }),
    { numRuns: 500 },
  );
  t.pass("holds");
});

const MALFORMED: [string, string, RegExp][] = [
  ["not JSON", "step 12", /^m:3: expected a JSON object a line .*found "step 12"/],
  ["not an object", "[1]", /expected a JSON object, found \[1\]/],
  ["an unknown type", '{"type":"stop"}', /expected "type" to be "step" or "evaluation", found "stop"/],
  ["no step", '{"type":"step"}', /expected a whole number >= 0 as "step", found nothing/],
  ["half a step", formatMetrics(step(1)).replace('"step":1', '"step":1.5'), /as "step", found 1.5/],
  ["a text for a number", formatMetrics(step(1)).replace("0.75", '"0.75"'), /as "accuracy".*found "0.75"/],
  ["a null that nothing explains", formatMetrics(step(1)).replace("0.75", "null"), /as "accuracy", or null/],
  ["no split", formatMetrics(evaluation(1)).replace('"split"', '"spilt"'), /expected a text as "split"/],
];
for (const [title, line, message] of MALFORMED) {
  t.test(`a malformed line is refused: ${title}`, async (t) => {
    t.throws(() => parseMetrics(line, "m:3"), { code: "MALFORMED_METRICS", message });
  });
}

t.test("reading names the line that is malformed", async (t) => {
  const path = metricsPath(t);
  await writeFile(path, `${lines([step(1), step(2)])}\n{"type":"st\n${lines([step(3)])}`);
  await t.rejects(readMetrics(path), { code: "MALFORMED_METRICS", message: /metrics\.jsonl:4: / });
});

t.test("reading tells of a torn last line, and takes a whole one without its line end", async (t) => {
  const path = metricsPath(t);
  const whole = lines([step(1), evaluation(1)]);
  await writeFile(path, `${whole}{"type":"st`);
  t.same(await readMetrics(path), { records: [step(1), evaluation(1)], tornLine: '{"type":"st' });
  await writeFile(path, whole.trimEnd());
  t.same(await readMetrics(path), { records: [step(1), evaluation(1)], tornLine: undefined });
});

t.test("what is appended is in the file after a flush, and close says how much", async (t) => {
  const path = metricsPath(t);
  const metrics = openMetricsFile(path, { flushMs: 3_600_000 });
  metrics.append(step(1));
  t.equal(await metrics.flush(), true);
  t.same((await readMetrics(path)).records, [step(1)]);
  metrics.append(step(2));
  metrics.append(evaluation(2));
  t.same(await metrics.close(), { written: 3, lost: 0 });
  t.same((await readMetrics(path)).records, [step(1), step(2), evaluation(2)]);
  t.same(await metrics.close(), { written: 3, lost: 0 }, "closing twice is closing once");
});

t.test("the queue goes out by itself: after a while, and when it is long", async (t) => {
  for (const options of [{ flushMs: 1 }, { flushMs: 3_600_000, flushBytes: 1 }]) {
    const path = metricsPath(t);
    const metrics = openMetricsFile(path, options);
    metrics.append(step(1));
    await until(async () => (await size(path)) > 0);
    t.same((await readMetrics(path)).records, [step(1)]);
    await metrics.close();
  }
});

t.test("opening again goes on behind what is there, and ends a torn line first", async (t) => {
  const path = metricsPath(t);
  await writeFile(path, `${lines([step(1)])}{"torn`);
  const metrics = openMetricsFile(path);
  metrics.append(step(2));
  await metrics.close();
  t.equal(await readFile(path, "utf8"), `${lines([step(1)])}{"torn\n${lines([step(2)])}`);
});

t.test("a write that fails is told once, throws nothing, and is made up for when it can be", async (t) => {
  const folder = join(t.testdir({}), "not-yet");
  const errors: TelemetryError[] = [];
  const onError = (error: TelemetryError) => {
    errors.push(error);
    throw new Error("a reporter that throws");
  };
  const metrics = openMetricsFile(join(folder, "metrics.jsonl"), { onError, flushMs: 3_600_000 });
  metrics.append(step(1));
  t.equal(await metrics.flush(), false);
  metrics.append(step(2));
  t.equal(await metrics.flush(), false);
  t.match(errors, [{ code: "METRICS_WRITE_FAILED", message: /ENOENT.*training goes on/ }]);
  await mkdir(folder);
  t.equal(await metrics.flush(), true);
  t.same(await metrics.close(), { written: 2, lost: 0 });
  t.same((await readMetrics(join(folder, "metrics.jsonl"))).records, [step(1), step(2)]);
});

t.test(
  "a full disk loses the records, says how many, and nothing else",
  { skip: !(await exists("/dev/full")) },
  async (t) => {
    const errors: TelemetryError[] = [];
    const metrics = openMetricsFile("/dev/full", { onError: (error) => errors.push(error), flushMs: 1 });
    metrics.append(step(1));
    metrics.append(step(2));
    t.same(await metrics.close(), { written: 0, lost: 2 });
    t.match(errors, [{ code: "METRICS_WRITE_FAILED", message: /ENOSPC/ }]);
  },
);

t.test("a queue that is full drops what comes, tells once and counts", async (t) => {
  const path = metricsPath(t);
  const errors: TelemetryError[] = [];
  const queueBytes = lines([step(1)]).length + 10;
  const metrics = openMetricsFile(path, { onError: (error) => errors.push(error), flushMs: 3_600_000, queueBytes });
  for (const k of [1, 2, 3]) metrics.append(step(k));
  t.match(errors, [{ code: "METRICS_WRITE_FAILED", message: /does not keep up/ }]);
  t.same(await metrics.close(), { written: 1, lost: 2 });
});

t.test("a record after close is told, not thrown", async (t) => {
  const errors: TelemetryError[] = [];
  const metrics = openMetricsFile(metricsPath(t), { onError: (error) => errors.push(error) });
  await metrics.close();
  metrics.append(step(1));
  t.match(errors, [{ code: "METRICS_CLOSED" }]);
});

const WHOLE = [step(1), step(2), evaluation(2), step(3), evaluation(3)];
const CUTS: [string, string, number, { kept: number; removed: number; tornLine?: string }, MetricsRecord[]][] = [
  ["later records go", lines(WHOLE), 2, { kept: 3, removed: 2 }, WHOLE.slice(0, 3)],
  ["nothing is later", lines(WHOLE), 3, { kept: 5, removed: 0 }, WHOLE],
  ["everything is later", lines(WHOLE), 0, { kept: 0, removed: 5 }, []],
  ["a torn last line goes", `${lines(WHOLE)}{"ty`, 3, { kept: 5, removed: 0, tornLine: '{"ty' }, WHOLE],
  [
    "a last line torn inside a character",
    `${lines([step(1)])}{"\xc3`,
    9,
    { kept: 1, removed: 0, tornLine: '{"\ufffd' },
    [step(1)],
  ],
  ["a whole last line is ended", lines(WHOLE).trimEnd(), 3, { kept: 5, removed: 0 }, WHOLE],
  ["an empty file stays", "", 3, { kept: 0, removed: 0 }, []],
];
for (const [title, before, after, expected, left] of CUTS) {
  t.test(`cut after a step: ${title}`, async (t) => {
    const path = metricsPath(t);
    await writeFile(path, before, "latin1");
    t.same(await cutMetricsAfter(path, after), { tornLine: undefined, damaged: [], ...expected });
    t.equal(await readFile(path, "utf8"), lines(left));
    t.same(await readdir(join(path, "..")), ["metrics.jsonl"], "no temporary file stays");
  });
}

t.test("cutting drops damaged lines and says which; a later version's records are cut by their step", async (t) => {
  const path = metricsPath(t);
  const later = '{"type":"gradient-norm","step":1,"value":3}\n';
  await writeFile(path, `${lines([step(1)])}\0\0\0\n${later}${later.replace("1,", "8,")}`);
  const cut = await cutMetricsAfter(path, 5);
  t.match(cut, { kept: 2, removed: 1, damaged: [/metrics\.jsonl:2: expected a JSON object/] });
  t.equal(await readFile(path, "utf8"), lines([step(1)]) + later);
});

t.test("cutting what needs no cut leaves the very file; what is not there stays away", async (t) => {
  const path = metricsPath(t);
  t.same(await cutMetricsAfter(path, 5), { kept: 0, removed: 0, tornLine: undefined, damaged: [] });
  t.same(await readdir(join(path, "..")), []);
  await writeFile(path, lines(WHOLE));
  const { ino } = await stat(path);
  await cutMetricsAfter(path, 3);
  t.equal((await stat(path)).ino, ino);
});

t.test("a long file is cut where it should be, whatever pieces it is read in", async (t) => {
  const path = metricsPath(t);
  const all = Array.from({ length: 2_000 }, (_, k) => step(k + 1)); // Several of the stream's 64 KiB pieces.
  await writeFile(path, lines(all));
  t.match(await cutMetricsAfter(path, 1_234), { kept: 1_234, removed: 766 });
  t.same(await readFile(path, "utf8"), lines(all.slice(0, 1_234)));
  const resumed = openMetricsFile(path);
  for (const record of all.slice(1_234)) resumed.append(record);
  await resumed.close();
  t.equal(await readFile(path, "utf8"), lines(all), "a resumed run's file is the undisturbed run's");
});

t.test("a cut that cannot be made leaves the file as it was", async (t) => {
  const path = metricsPath(t);
  await writeFile(path, lines(WHOLE));
  await mkdir(`${path}.cut`); // The temporary file cannot be opened.
  await t.rejects(cutMetricsAfter(path, 1), { code: "EISDIR" });
  t.equal(await readFile(path, "utf8"), lines(WHOLE));
});

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(setImmediate);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function size(path: string): Promise<number> {
  return stat(path).then(
    (found) => found.size,
    () => 0,
  );
}
