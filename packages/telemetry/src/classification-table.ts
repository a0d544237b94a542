import type { ClassificationReport, ClassScores } from "./classification.ts";
import { fit, plain } from "./display-width.ts";
import { formatCount } from "./quantity.ts";
import { renderTable, type TableColumn, type TableRow, tableOverhead } from "./table.ts";
import { DEFAULT_STYLE, type TextStyle } from "./terminal-style.ts";
import { wrapWords } from "./word-wrap.ts";

/** More classes than this would push everything else off the screen. */
const MOST_CLASSES = 30;
const WEAKEST = 10;
const LONGEST_NAME = 24;
const AVERAGES = ["macro average", "weighted average"] as const;
const NUMBERS: readonly TableColumn[] = ["precision", "recall", "F1", "samples"].map((title) => ({
  title,
  align: "right",
}));

/** Precision, recall and F1 of each class, then their averages. Of more than 30 classes the 10 with the lowest F1 are shown, and it is said. */
export function renderClassification(report: ClassificationReport, style: TextStyle = {}): string {
  const settled = { ...DEFAULT_STYLE, ...style };
  const many = report.perClass.length > MOST_CLASSES;
  // A class without samples has F1 0 and teaches nothing: it is not among the weakest.
  const weakest = () =>
    report.perClass
      .filter(({ support }) => support > 0)
      .sort((a, b) => a.f1 - b.f1)
      .slice(0, WEAKEST);
  const shown = many ? weakest() : report.perClass;

  const numbers = (scores: ClassScores, samples: number) => [
    scores.precision.toFixed(4),
    scores.recall.toFixed(4),
    scores.f1.toFixed(4),
    formatCount(samples),
  ];
  const lastWidth = Math.max("samples".length, formatCount(report.samples).length);
  const room = settled.columns - tableOverhead(5) - "precision".length - 2 * "0.0000".length - lastWidth;
  const ellipsis = settled.unicode ? "…" : "...";
  const name = (text: string) => fit(plain(text), Math.max(1, Math.min(LONGEST_NAME, room)), ellipsis);
  const rows: TableRow[] = [
    ...shown.map((scores) => [name(scores.name), ...numbers(scores, scores.support)]),
    "rule",
    [name(AVERAGES[0]), ...numbers(report.macro, report.samples)],
    [name(AVERAGES[1]), ...numbers(report.weighted, report.samples)],
  ];
  const table = renderTable([{ title: "class" }, ...NUMBERS], rows, settled);
  const caption = `The ${shown.length} of ${report.perClass.length} classes with the lowest F1:`;
  return [...(many ? wrapWords(caption, settled.columns) : []), table].join("\n");
}
