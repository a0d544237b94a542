import { displayWidth, padEnd, padStart } from "./display-width.ts";
import { DEFAULT_STYLE, paint, type TextStyle } from "./terminal-style.ts";

export interface TableColumn {
  readonly title: string;
  /** Default "left"; numbers read better "right". */
  readonly align?: "left" | "right";
}

/** A row's cells, which may be painted, or a rule across the table. */
export type TableRow = readonly string[] | "rule";

interface Box {
  readonly across: string;
  readonly down: string;
  /** Corners and joints of the top, the middle and the bottom rule: left, inner, right. */
  readonly joints: Readonly<Record<"top" | "middle" | "bottom", readonly [string, string, string]>>;
}

const UNICODE_BOX: Box = {
  across: "─",
  down: "│",
  joints: { top: ["┌", "┬", "┐"], middle: ["├", "┼", "┤"], bottom: ["└", "┴", "┘"] },
};
const ASCII_BOX: Box = {
  across: "-",
  down: "|",
  joints: { top: ["+", "+", "+"], middle: ["+", "+", "+"], bottom: ["+", "+", "+"] },
};

/**
 * An aligned table as plain text, lines joined by "\n" without a last one. Its columns are as wide as what is in them: a caller with long cells cuts
 * them with `fit`. Missing cells are empty.
 */
export function renderTable(
  columns: readonly TableColumn[],
  rows: readonly TableRow[],
  style: Omit<TextStyle, "columns"> = {},
): string {
  const { colour, unicode } = { ...DEFAULT_STYLE, ...style };
  const box = unicode ? UNICODE_BOX : ASCII_BOX;
  const cellRows = rows.filter((row) => row !== "rule");
  const widths = columns.map(({ title }, k) =>
    cellRows.reduce((w, row) => Math.max(w, displayWidth(row[k] ?? "")), displayWidth(title)),
  );

  const rule = (place: "top" | "middle" | "bottom") => {
    const [left, inner, right] = box.joints[place];
    return left + widths.map((width) => box.across.repeat(width + 2)).join(inner) + right;
  };
  const line = (cells: readonly string[]) => {
    const padded = columns.map(({ align }, k) =>
      (align === "right" ? padStart : padEnd)(cells[k] ?? "", widths[k] ?? 0),
    );
    return `${box.down} ${padded.join(` ${box.down} `)} ${box.down}`;
  };
  return [
    rule("top"),
    line(columns.map(({ title }) => paint(title, ["bold"], colour))),
    rule("middle"),
    ...rows.map((row) => (row === "rule" ? rule("middle") : line(row))),
    rule("bottom"),
  ].join("\n");
}

/** Columns that a table takes beside its cells' own: what is left is for them. */
export function tableOverhead(columns: number): number {
  return 3 * columns + 1;
}
