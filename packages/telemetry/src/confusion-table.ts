/**
 * A confusion matrix for the terminal: rows are true classes, columns are predictions, the diagonal (what was right) stands out by colour, or by
 * brackets where there is none. Columns are headed by the class names if those are short and fit, else by the classes' numbers, which the rows
 * repeat. Where even that is too wide, the most confused pairs are listed instead, and the text says so.
 */
import { type ConfusionMatrix, cells, checkedClassNames } from "./classification.ts";
import { renderConfusedPairs } from "./confused-pairs.ts";
import { displayWidth, fit, padEnd, padStart, plain } from "./display-width.ts";
import { formatCount } from "./quantity.ts";
import { DEFAULT_STYLE, paint, type TextStyle } from "./terminal-style.ts";
import { wrapSentences } from "./word-wrap.ts";

const LONGEST_NAME = 24;
/** A column is as wide as its heading: longer names would spread the counts too far for the eye. */
const LONGEST_HEADING = 10;

/**
 * @returns lines joined by "\n", none wider than `style.columns` as long as those are at least 40.
 * @throws TelemetryError `BAD_CONFUSION_MATRIX`, as `classificationReport`.
 */
export function renderConfusion(
  confusion: ConfusionMatrix,
  classNames: readonly string[] = [],
  style: TextStyle = {},
): string {
  const settled = { ...DEFAULT_STYLE, ...style };
  const names = checkedClassNames(confusion, classNames).map((name) =>
    fit(plain(name), LONGEST_NAME, settled.unicode ? "…" : "..."),
  );
  const numbers = names.map((_, k) => String(k));
  const longest = String(names.length - 1).length;
  const numbered = names.map((name, k) => (name === numbers[k] ? name : `${String(k).padStart(longest)} ${name}`));
  return (
    (names.every((name) => displayWidth(name) <= LONGEST_HEADING) && matrix(confusion, names, names, settled)) ||
    matrix(confusion, numbered, numbers, settled) ||
    renderConfusedPairs(confusion, names, settled)
  );
}

/** The matrix, or undefined where it does not fit. */
function matrix(
  confusion: ConfusionMatrix,
  rowNames: readonly string[],
  headings: readonly string[],
  { columns, colour, unicode }: Required<TextStyle>,
): string | undefined {
  const { classes, counts } = confusion;
  const gap = colour ? 1 : 2; // Without colour every cell keeps room for two brackets.
  const margin = Math.max(...rowNames.map(displayWidth)) + (colour ? 0 : 1);
  if (margin + classes * (1 + gap) > columns) return undefined;

  const nothing = unicode ? "·" : ".";
  const text = (count: number) => (count === 0 ? nothing : formatCount(count));
  let width = Math.max(...headings.map(displayWidth));
  for (const { count } of cells(confusion)) width = Math.max(width, text(count).length);
  if (margin + classes * (width + gap) > columns) return undefined;

  const cell = (count: number, right: boolean): string => {
    if (!colour) return padStart(right ? `[${text(count)}]` : `${text(count)} `, width + gap);
    return padStart(paint(text(count), right ? ["bold", "green"] : count === 0 ? ["dim"] : [], true), width + gap);
  };
  const heading = headings.map((name) => padStart(colour ? name : `${name} `, width + gap)).join("");
  const rows = rowNames.map((name, truth) => {
    const row = headings.map((_, guess) => cell(counts[truth * classes + guess] ?? 0, truth === guess));
    return (padEnd(name, margin) + row.join("")).trimEnd();
  });
  const caption = [
    "Rows: the true class.",
    "Columns: what was predicted.",
    colour ? "Green: predicted right." : "In brackets: predicted right.",
  ];
  return [
    ...wrapSentences(caption, columns),
    paint(`${" ".repeat(margin)}${heading}`.trimEnd(), ["dim"], colour),
    ...rows,
  ].join("\n");
}
