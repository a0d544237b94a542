const columns = ["check", "passed", "failed", "skipped", "seconds"];

/** A table of all checks, the failures' outputs before it, the totals as the last line. @returns the lines and whether all is well. */
export function summarise(rows) {
  const lines = [];
  for (const { name, output } of rows.filter((row) => row.failed > 0)) lines.push("", `--- failed: ${name}`, ...output);

  const skips = rows.flatMap((row) => row.skips.map((skip) => `skipped in ${row.name}: ${skip}`));
  if (skips.length > 0) lines.push("", ...skips);

  const cells = rows.map((row) => columns.map((column) => (column === "check" ? row.name : inCell(row, column))));
  const width = (index) => Math.max(...[columns, ...cells].map((row) => row[index].length));
  const widths = columns.map((_, index) => width(index));
  const inLine = (row) =>
    row.map((cell, index) => (index === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[index]))).join("  ");
  lines.push("", ...[columns, ...cells].map(inLine), "");

  const total = (column) => rows.reduce((sum, row) => sum + row[column], 0);
  const [passed, failed, skipped] = [total("passed"), total("failed"), total("skipped")];
  lines.push(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  return { lines, isGood: failed === 0 && passed > 0 };
}

const inCell = (row, column) => (column === "seconds" ? row.seconds.toFixed(1) : String(row[column]));
