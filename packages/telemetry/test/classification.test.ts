import t, { type Test } from "tap";
import { type ClassScores, type ConfusionMatrix, classificationReport, renderClassification } from "../src/index.ts";

// Golden values: scikit-learn 1.9.1, classification_report(y, p, labels=range(n), output_dict=True, zero_division=0) of samples that give these matrices.
const GOLDEN: {
  title: string;
  counts: number[];
  names: string[];
  accuracy: number;
  perClass: [number, number, number, number][];
  macro: [number, number, number];
  weighted: [number, number, number];
}[] = [
  {
    title: "three classes",
    counts: [5, 2, 0, 1, 7, 3, 0, 4, 8],
    names: ["cat", "dog", "bird"],
    accuracy: 0.6666666666666666,
    perClass: [
      [0.8333333333333334, 0.7142857142857143, 0.7692307692307693, 7],
      [0.5384615384615384, 0.6363636363636364, 0.5833333333333334, 11],
      [0.7272727272727273, 0.6666666666666666, 0.6956521739130435, 12],
    ],
    macro: [0.6996891996891996, 0.6724386724386724, 0.6827387588257153],
    weighted: [0.6827894327894327, 0.6666666666666666, 0.6716369379412858],
  },
  {
    title: "a class never predicted, and one without samples",
    counts: [3, 0, 1, 0, 2, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0],
    names: ["a", "b", "c", "d"],
    accuracy: 0.75,
    perClass: [
      [0.6, 0.75, 0.6666666666666666, 4],
      [0, 0, 0, 2],
      [0.8571428571428571, 1, 0.9230769230769231, 6],
      [0, 0, 0, 0],
    ],
    macro: [0.36428571428571427, 0.4375, 0.39743589743589747],
    weighted: [0.6285714285714286, 0.75, 0.6837606837606837],
  },
];

for (const golden of GOLDEN) {
  t.test(`scores equal scikit-learn's: ${golden.title}`, async (t) => {
    const classes = golden.names.length;
    for (const counts of [golden.counts, Float64Array.from(golden.counts)]) {
      const report = classificationReport({ classes, counts }, golden.names);
      close(t, report.accuracy, golden.accuracy);
      t.same(
        report.perClass.map(({ name, support }) => [name, support]),
        golden.names.map((name, k) => [name, golden.perClass[k]?.[3]]),
      );
      report.perClass.forEach((scores, k) => {
        closeScores(t, scores, golden.perClass[k]?.slice(0, 3) ?? []);
      });
      closeScores(t, report.macro, golden.macro);
      closeScores(t, report.weighted, golden.weighted);
    }
  });
}

t.test("an empty matrix scores 0, not NaN", async (t) => {
  const report = classificationReport({ classes: 2, counts: [0, 0, 0, 0] });
  t.same(report.accuracy, 0);
  t.same(report.weighted, { precision: 0, recall: 0, f1: 0 });
  t.same(
    report.perClass.map(({ name }) => name),
    ["0", "1"],
    "unnamed classes are numbered",
  );
});

const BAD: [string, ConfusionMatrix, string[], RegExp][] = [
  ["too few counts", { classes: 2, counts: [1, 2, 3] }, [], /2 classes and 3 counts/],
  ["no classes", { classes: 0, counts: [] }, [], /0 classes/],
  ["a negative count", { classes: 2, counts: [1, 0, -3, 1] }, [], /found -3 at true class 1, predicted 0/],
  ["a NaN count", { classes: 1, counts: [Number.NaN] }, [], /found NaN/],
  ["too many names", { classes: 1, counts: [1] }, ["a", "b"], /at most 1 class names, found 2/],
];
for (const [title, confusion, names, message] of BAD) {
  t.test(`a bad matrix is refused: ${title}`, async (t) => {
    t.throws(() => classificationReport(confusion, names), { code: "BAD_CONFUSION_MATRIX", message });
  });
}

t.test("the table lists each class and both averages", async (t) => {
  const report = classificationReport({ classes: 2, counts: [8, 2, 1, 9] }, ["cat", "dog"]);
  t.equal(
    renderClassification(report),
    [
      "+------------------+-----------+--------+--------+---------+",
      "| class            | precision | recall |     F1 | samples |",
      "+------------------+-----------+--------+--------+---------+",
      "| cat              |    0.8889 | 0.8000 | 0.8421 |      10 |",
      "| dog              |    0.8182 | 0.9000 | 0.8571 |      10 |",
      "+------------------+-----------+--------+--------+---------+",
      "| macro average    |    0.8535 | 0.8500 | 0.8496 |      20 |",
      "| weighted average |    0.8535 | 0.8500 | 0.8496 |      20 |",
      "+------------------+-----------+--------+--------+---------+",
    ].join("\n"),
  );
});

t.test("of many classes the weakest with samples are shown, worst first", async (t) => {
  const classes = 40;
  const counts = new Float64Array(classes * classes);
  for (let k = 1; k < classes; k += 1) {
    counts[k * classes + k] = 100 - k; // Class 39 is the worst; class 0 has no samples.
    counts[k * classes] = k;
  }
  const text = renderClassification(classificationReport({ classes, counts }));
  t.match(text, /^The 10 of 40 classes with the lowest F1:\n/);
  const shown = [...text.matchAll(/^\| (\d+) /gm)].map(([, name]) => Number(name));
  t.same(shown, [39, 38, 37, 36, 35, 34, 33, 32, 31, 30]);
});

function closeScores(t: Test, { precision, recall, f1 }: ClassScores, expected: readonly number[]): void {
  for (const [k, value] of [precision, recall, f1].entries()) close(t, value, expected[k] ?? Number.NaN);
}

function close(t: Test, found: number, expected: number): void {
  t.ok(Math.abs(found - expected) < 1e-15 * 4, `${found} is ${expected}`);
}
