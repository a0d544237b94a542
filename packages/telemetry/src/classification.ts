/**
 * Precision, recall and F1 from a confusion matrix, as scikit-learn's `classification_report(..., labels=range(classes), zero_division=0)` gives
 * them: a class that was never predicted has precision 0, one without samples recall 0, and 0/0 is 0 everywhere.
 */
import { TelemetryError } from "./telemetry-error.ts";

export interface ConfusionMatrix {
  readonly classes: number;
  /** [classes x classes], row-major: `counts[t * classes + p]` samples of true class t were predicted as p. */
  readonly counts: readonly number[] | Float64Array;
}

export interface ClassScores {
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
}

export interface NamedClassScores extends ClassScores {
  readonly name: string;
  /** Samples whose true class this is. */
  readonly support: number;
}

export interface ClassificationReport {
  /** Share of samples predicted right, 0 to 1; 0 of an empty matrix. */
  readonly accuracy: number;
  readonly samples: number;
  readonly perClass: readonly NamedClassScores[];
  /** Plain mean over all classes, those without samples included. */
  readonly macro: ClassScores;
  /** Mean weighted by support. */
  readonly weighted: ClassScores;
}

/**
 * @param classNames one a class, in order; names of absent entries are the class's number.
 * @throws TelemetryError `BAD_CONFUSION_MATRIX` where counts are not classes x classes numbers >= 0, or there are more names than classes.
 */
export function classificationReport(
  confusion: ConfusionMatrix,
  classNames: readonly string[] = [],
): ClassificationReport {
  const names = checkedClassNames(confusion, classNames);
  const { classes } = confusion;
  const actual = new Float64Array(classes);
  const predicted = new Float64Array(classes);
  const right = new Float64Array(classes);
  for (const { truth, guess, count } of cells(confusion)) {
    actual[truth] = (actual[truth] ?? 0) + count;
    predicted[guess] = (predicted[guess] ?? 0) + count;
    if (truth === guess) right[truth] = count;
  }
  const perClass = names.map((name, k): NamedClassScores => {
    const [hits, support, guesses] = [right[k] ?? 0, actual[k] ?? 0, predicted[k] ?? 0];
    return {
      name,
      precision: ratio(hits, guesses),
      recall: ratio(hits, support),
      f1: ratio(2 * hits, support + guesses),
      support,
    };
  });
  const samples = sum(actual);
  return {
    accuracy: ratio(sum(right), samples),
    samples,
    perClass,
    macro: mean(perClass, () => 1),
    weighted: mean(perClass, (scores) => scores.support),
  };
}

export interface ConfusionCell {
  readonly truth: number;
  readonly guess: number;
  readonly count: number;
}

/** Every cell, row by row. */
export function* cells({ classes, counts }: ConfusionMatrix): Generator<ConfusionCell> {
  for (let truth = 0; truth < classes; truth += 1) {
    for (let guess = 0; guess < classes; guess += 1) {
      yield { truth, guess, count: counts[truth * classes + guess] ?? 0 };
    }
  }
}

/** A name for every class, once the matrix is known to be one. */
export function checkedClassNames({ classes, counts }: ConfusionMatrix, classNames: readonly string[]): string[] {
  if (!Number.isSafeInteger(classes) || classes < 1 || counts.length !== classes * classes) {
    const expected = "expected classes >= 1 and classes x classes counts";
    throw bad(`${expected}, found ${classes} classes and ${counts.length} counts`);
  }
  const wrong = counts.findIndex((count) => !Number.isFinite(count) || count < 0);
  if (wrong >= 0) {
    const where = `true class ${Math.floor(wrong / classes)}, predicted ${wrong % classes}`;
    throw bad(`expected counts >= 0, found ${counts[wrong]} at ${where}`);
  }
  if (classNames.length > classes) {
    throw bad(`expected at most ${classes} class names, found ${classNames.length}: give one name a class`);
  }
  return Array.from({ length: classes }, (_, k) => classNames[k] ?? String(k));
}

function bad(message: string): TelemetryError {
  return new TelemetryError("BAD_CONFUSION_MATRIX", `confusion matrix: ${message}`);
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

function mean(perClass: readonly NamedClassScores[], weight: (scores: NamedClassScores) => number): ClassScores {
  const total = sum(perClass.map(weight));
  const of = (score: keyof ClassScores) => ratio(sum(perClass.map((s) => s[score] * weight(s))), total);
  return { precision: of("precision"), recall: of("recall"), f1: of("f1") };
}
