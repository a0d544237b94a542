/**
 * A line of `metrics.jsonl`.
 *
 * JSON has no NaN and no infinities. Such a number is written as null, so that its column stays numeric for pandas, jq and spreadsheets, and what it was is
 * beside it: `{"type":"step", ..., "loss":null, ..., "nonFinite":{"loss":"NaN"}}`. `nonFinite` is there only when needed, and reading puts the numbers
 * back. A null without its entry in `nonFinite` is malformed.
 */
import { TelemetryError } from "./telemetry-error.ts";

export interface StepRecord {
  readonly type: "step";
  /** Steps done after this one, counted over the run. */
  readonly step: number;
  /** From 1. */
  readonly epoch: number;
  /** Of this step's global batch. */
  readonly loss: number;
  /** Of this step's global batch, 0 to 1. */
  readonly accuracy: number;
  readonly learningRate: number;
  readonly imagesPerSecond: number;
  readonly dataMs: number;
  readonly computeMs: number;
  readonly communicationMs: number;
  readonly optimizerMs: number;
  /** Of the global batch. */
  readonly samples: number;
  /** Sums over the global batch of four 8-bit limbs of hash(step, slot, sample id), taken from the samples as they were delivered. */
  readonly receipt: readonly number[];
}

export interface EvaluationRecord {
  readonly type: "evaluation";
  /** `validation`, `test`, or another name that the run uses. */
  readonly split: string;
  readonly step: number;
  readonly epoch: number;
  readonly loss: number;
  readonly accuracy: number;
  readonly samples: number;
}

export type MetricsRecord = StepRecord | EvaluationRecord;

const NON_FINITE = new Map([
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
]);

/** The record as one line of JSON, without its line end. */
export function formatMetrics(record: MetricsRecord): string {
  const nonFinite: Record<string, string> = {};
  for (const [key, value] of Object.entries(record)) {
    if (typeof value === "number" && !Number.isFinite(value)) nonFinite[key] = String(value);
  }
  // JSON.stringify writes what is not finite as null by itself.
  return JSON.stringify(Object.keys(nonFinite).length === 0 ? record : { ...record, nonFinite });
}

/**
 * The record in a line of JSON. Fields that this version does not know are left out.
 * @param where the file and line, for the error.
 * @throws TelemetryError `MALFORMED_METRICS`
 */
export function parseMetrics(line: string, where: string): MetricsRecord {
  const fields = parseFields(line, where);
  const number = (name: keyof StepRecord) => measure(fields, name, where);
  const position = () => ({ step: count(fields, "step", where), epoch: count(fields, "epoch", where) });
  const outcome = () => ({ loss: number("loss"), accuracy: number("accuracy") });
  if (fields.type === "step") {
    return {
      type: "step",
      ...position(),
      ...outcome(),
      learningRate: number("learningRate"),
      imagesPerSecond: number("imagesPerSecond"),
      dataMs: number("dataMs"),
      computeMs: number("computeMs"),
      communicationMs: number("communicationMs"),
      optimizerMs: number("optimizerMs"),
      samples: count(fields, "samples", where),
      receipt: counts(fields, "receipt", where),
    };
  }
  if (fields.type === "evaluation") {
    const { split } = fields;
    if (typeof split !== "string") throw malformed(where, 'expected a text as "split"', split);
    return { type: "evaluation", split, ...position(), ...outcome(), samples: count(fields, "samples", where) };
  }
  throw malformed(where, 'expected "type" to be "step" or "evaluation"', fields.type);
}

/**
 * Only the step that a line belongs to, whatever else it holds: records of a later version can be cut as well.
 * @throws TelemetryError `MALFORMED_METRICS`
 */
export function parseStep(line: string, where: string): number {
  return count(parseFields(line, where), "step", where);
}

type Fields = Readonly<Record<string, unknown>>;

function parseFields(line: string, where: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw malformed(where, `expected a JSON object a line (${reason})`, line);
  }
  if (!isFields(value)) throw malformed(where, "expected a JSON object", value);
  return value;
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function count(fields: Fields, name: string, where: string): number {
  const value = fields[name];
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw malformed(where, `expected a whole number >= 0 as "${name}"`, value);
}

function counts(fields: Fields, name: string, where: string): number[] {
  const value = fields[name];
  const isCount = (each: unknown): each is number =>
    typeof each === "number" && Number.isSafeInteger(each) && each >= 0;
  if (Array.isArray(value) && value.every(isCount)) return value;
  throw malformed(where, `expected whole numbers >= 0 as "${name}"`, value);
}

function measure(fields: Fields, name: string, where: string): number {
  const value = fields[name];
  if (typeof value === "number") return value;
  const text = isFields(fields.nonFinite) ? fields.nonFinite[name] : undefined;
  const number = typeof text === "string" ? NON_FINITE.get(text) : undefined;
  if (value === null && number !== undefined) return number;
  throw malformed(where, `expected a number as "${name}", or null with its text in "nonFinite"`, value);
}

function malformed(where: string, expected: string, found: unknown): TelemetryError {
  const text = found === undefined ? "nothing" : (JSON.stringify(found) ?? String(found));
  const short = text.length > 60 ? `${text.slice(0, 57)}...` : text;
  return new TelemetryError("MALFORMED_METRICS", `${where}: ${expected}, found ${short}; mend or delete the line`);
}
