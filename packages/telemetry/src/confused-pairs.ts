import { type ConfusionCell, type ConfusionMatrix, cells, classificationReport } from "./classification.ts";
import { fit } from "./display-width.ts";
import { formatCount, formatPercent } from "./quantity.ts";
import { renderTable, tableOverhead } from "./table.ts";
import type { TextStyle } from "./terminal-style.ts";
import { wrapSentences } from "./word-wrap.ts";

const PAIRS = 10;
const NUMBER_TITLES = ["samples", "share"] as const;

/** The pairs (true class, wrong prediction) with the most samples: what is left to say of a matrix too wide to show. */
export function renderConfusedPairs(
  confusion: ConfusionMatrix,
  names: readonly string[],
  style: Required<TextStyle>,
): string {
  const { perClass } = classificationReport(confusion);
  const wrong: ConfusionCell[] = [];
  for (const cell of cells(confusion)) if (cell.truth !== cell.guess && cell.count > 0) wrong.push(cell);
  wrong.sort((a, b) => b.count - a.count || a.truth - b.truth || a.guess - b.guess);
  const worst = wrong.slice(0, PAIRS);

  const why = `The matrix of ${confusion.classes} classes does not fit ${style.columns} columns.`;
  const what =
    worst.length === 0
      ? "No sample was taken for another class."
      : wrong.length > PAIRS
        ? `The ${PAIRS} most confused of ${formatCount(wrong.length)} pairs (share: of the true class):`
        : "All confused pairs (share: of the true class):";
  const caption = wrapSentences([why, what], style.columns);
  if (worst.length === 0) return caption.join("\n");

  const numbers = worst.map(({ truth, count }) => [
    formatCount(count),
    formatPercent(count / (perClass[truth]?.support ?? count)),
  ]);
  const taken = NUMBER_TITLES.map((title, k) => Math.max(title.length, ...numbers.map((row) => row[k]?.length ?? 0)));
  const room = style.columns - tableOverhead(4) - taken.reduce((total, width) => total + width, 0);
  const cut = (text: string) => fit(text, Math.max(1, Math.floor(room / 2)), style.unicode ? "…" : "...");
  const table = renderTable(
    [
      { title: cut("true") },
      { title: cut("predicted") },
      ...NUMBER_TITLES.map((title) => ({ title, align: "right" as const })),
    ],
    worst.map(({ truth, guess }, k) => [cut(names[truth] ?? ""), cut(names[guess] ?? ""), ...(numbers[k] ?? [])]),
    style,
  );
  return [...caption, table].join("\n");
}
