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
  const batch = { samples: 64, receipt: [8160, 0, 16_320, 7] };
  const speed = { learningRate: 0.1, imagesPerSecond: 3586 };
  return { type: "step", step, epoch: 1, loss, accuracy: 0.75, ...speed, ...spent, ...batch };
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

t.test("a step's line ends in its samples and their receipt", async (t) => {
  t.equal(
    formatMetrics(step(7)),
    '{"type":"step","step":7,"epoch":1,"loss":0.5,"accuracy":0.75,"learningRate":0.1,"imagesPerSecond":3586,' +
      '"dataMs":1,"computeMs":20.25,"communicationMs":3,"optimizerMs":0.5,"samples":64,"receipt":[8160,0,16320,7]}',
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
    samples: count,
    receipt: fc.array(count),
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

const withReceipt = (receipt: unknown) => JSON.stringify({ ...step(1), receipt });

const MALFORMED: [string, string, RegExp][] = [
  ["not JSON", "step 12", /^m:3: expected a JSON object a line .*found "step 12"/],
  ["not an object", "[1]", /expected a JSON object, found \[1\]/],
  ["an unknown type", '{"type":"stop"}', /expected "type" to be "step" or "evaluation", found "stop"/],
  ["no step", '{"type":"step"}', /expected a whole number >= 0 as "step", found nothing/],
  ["half a step", formatMetrics(step(1)).replace('"step":1', '"step":1.5'), /as "step", found 1.5/],
  ["a text for a number", formatMetrics(step(1)).replace("0.75", '"0.75"'), /as "accuracy".*found "0.75"/],
  ["a null that nothing explains", formatMetrics(step(1)).replace("0.75", "null"), /as "accuracy", or null/],
  ["no samples", formatMetrics(step(1)).replace('"samples":64,', ""), /as "samples", found nothing/],
  ["half a sample", formatMetrics(step(1)).replace('"samples":64', '"samples":63.5'), /as "samples", found 63.5/],
  ["no receipt", withReceipt(undefined), /expected whole numbers >= 0 as "receipt", found nothing/],
  ["a receipt that is one number", withReceipt(8160), /as "receipt", found 8160/],
  ["a receipt below 0", withReceipt([8160, -1, 0, 7]), /as "receipt", found \[8160,-1,0,7\]/],
  ["a receipt of fractions", withReceipt([0.5]), /as "receipt", found \[0.5\]/],
  ["a receipt in words", withReceipt(["8160"]), /as "receipt", found \["8160"\]/],
  ["a receipt with a hole", withReceipt([8160, null]), /as "receipt", found \[8160,null\]/],
  ["a receipt past what a number can count", withReceipt([2 ** 53]), /as "receipt", found \[9007199254740992\]/],
  ["no split", formatMetrics(evaluation(1)).replace('"split"', '"spilt"'), /expected a text as "split"/],
];
for (const [title, line, message] of MALFORMED) {
  t.test(`a malformed line is refused: ${title}`, async (t) => {
    t.throws(() => parseMetrics(line, "m:3"), { code: "MALFORMED_METRICS", message });
  });
}

t.test("reading passes over a line that is damaged, and names it", async (t) => {
  const path = metricsPath(t);
  await writeFile(path, `${lines([step(1), step(2)])}\n{"type":"st\n${lines([step(3)])}`);
  t.match(await readMetrics(path), {
    records: [step(1), step(2), step(3)],
    lastStep: 3,
    damaged: [/metrics\.jsonl:4: expected a JSON object/],
  });
});

t.test("reading tells of a torn last line, and takes a whole one without its line end", async (t) => {
  const path = metricsPath(t);
  const whole = lines([step(1), evaluation(2)]);
  const found = { records: [step(1), evaluation(2)], omitted: 0, lastStep: 2, damaged: [] };
  await writeFile(path, `${whole}{"type":"st`);
  t.same(await readMetrics(path), { ...found, tornLine: '{"type":"st' });
  await writeFile(path, whole.trimEnd());
  t.same(await readMetrics(path), { ...found, tornLine: undefined });
});

t.test("a file that is not there has no records", async (t) => {
  const nothing = { records: [], omitted: 0, lastStep: null, tornLine: undefined, damaged: [] };
  t.same(await readMetrics(metricsPath(t)), nothing);
  await t.rejects(readMetrics(t.testdir({})), { code: "EISDIR" });
});

for (const newest of [1, 7, 49, 50, 51, 100, 1_000])
  t.test(`of 100 records the newest ${newest} are read`, async (t) => {
    const path = metricsPath(t);
    const all = Array.from({ length: 100 }, (_, k) => step(k + 1));
    await writeFile(path, lines(all));
    const { records, omitted, lastStep } = await readMetrics(path, newest);
    t.same(records, all.slice(-newest));
    t.equal(omitted, 100 - records.length);
    t.equal(lastStep, 100);
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

t.test("the queue goes out by itself after a while, and it is told up to which step", async (t) => {
  const path = metricsPath(t);
  const flushed = new Promise<number>((resolve) => {
    const metrics = openMetricsFile(path, { flushMs: 1, onFlushed: resolve });
    t.teardown(() => metrics.close());
    for (const record of [step(1), step(2), evaluation(2)]) metrics.append(record);
    // The timer alone keeps no process alive.
    const alive = setInterval(() => {}, 1_000);
    t.teardown(() => clearInterval(alive));
  });
  t.equal(await flushed, 2);
  t.same((await readMetrics(path)).records, [step(1), step(2), evaluation(2)]);
});

t.test("steps are told as flushed when they are, in order, and a listener that throws stops nothing", async (t) => {
  const told: number[] = [];
  const onFlushed = (step: number) => {
    told.push(step);
    throw new Error("a listener that throws");
  };
  const metrics = openMetricsFile(metricsPath(t), { flushMs: 3_600_000, onFlushed });
  metrics.append(step(1));
  t.same(told, []);
  t.equal(await metrics.flush(), true);
  t.same(told, [1]);
  t.equal(await metrics.flush(), true);
  for (const k of [2, 3]) metrics.append(step(k));
  await metrics.close();
  t.same(told, [1, 3]);
});

const ENDS: [string, string, string][] = [
  ["a torn last line is cut away", `${lines([step(1)])}{"torn`, lines([step(1), step(2)])],
  ["a file that is one torn line is begun anew", '{"torn', lines([step(2)])],
  ["a whole last line is ended", lines([step(1)]).trimEnd(), lines([step(1), step(2)])],
  [
    "zeros, as after a power cut, are cut away",
    `${lines([step(1)])}${"\0".repeat(200_000)}`,
    lines([step(1), step(2)]),
  ],
  ["a file that ends well stays", lines([step(1)]), lines([step(1), step(2)])],
  ["an empty file is filled", "", lines([step(2)])],
];
for (const [title, before, after] of ENDS)
  t.test(`opening again goes on behind what is there: ${title}`, async (t) => {
    const path = metricsPath(t);
    await writeFile(path, before);
    const { records } = await readMetrics(path);
    const metrics = openMetricsFile(path);
    metrics.append(step(2));
    await metrics.close();
    t.equal(await readFile(path, "utf8"), after);
    t.same((await readMetrics(path)).records, [...records, step(2)], "what was read before is what stayed");
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

t.test("a queue that is full loses the oldest, says so once, and how many once it is written", async (t) => {
  const path = metricsPath(t);
  const errors: TelemetryError[] = [];
  const metrics = openMetricsFile(path, { onError: (error) => errors.push(error), flushMs: 3_600_000, maxQueued: 3 });
  for (const k of [1, 2, 3, 4, 5]) metrics.append(step(k));
  t.match(errors, [{ code: "METRICS_WRITE_FAILED", message: /3 records wait for the disk; the oldest are lost/ }]);
  t.equal(await metrics.flush(), true);
  t.match(errors[1], { message: /metrics are written again; 2 records are lost/ });
  t.equal(errors.length, 2);
  t.same(await metrics.close(), { written: 3, lost: 2 });
  t.same((await readMetrics(path)).records, [step(3), step(4), step(5)]);
});

t.test("what another process writes now is left alone, to the end", async (t) => {
  const path = metricsPath(t);
  let isOwn = true;
  const metrics = openMetricsFile(path, { flushMs: 3_600_000, mayWrite: () => isOwn });
  metrics.append(step(1));
  await metrics.flush();
  metrics.append(step(2));
  isOwn = false;
  const others = lines([step(1), step(2), step(3)]);
  await writeFile(path, others);
  await metrics.flush();
  metrics.append(step(3));
  await metrics.close();
  t.equal(await readFile(path, "utf8"), others);
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

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
