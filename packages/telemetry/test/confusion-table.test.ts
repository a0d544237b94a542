import fc from "fast-check";
import t from "tap";
import { displayWidth, renderConfusion, renderTable } from "../src/index.ts";

const THREE = { classes: 3, counts: [5, 2, 0, 1, 7, 3, 0, 4, 1200] };
const NAMES = ["cat", "dog", "bird"];

t.test("rows are true classes, the diagonal is in brackets", async (t) => {
  t.equal(
    renderConfusion(THREE, NAMES),
    [
      "Rows: the true class. Columns: what was predicted. In brackets: predicted right.",
      "        cat    dog   bird",
      "cat      [5]     2      .",
      "dog       1     [7]     3",
      "bird      .      4 [1,200]",
    ].join("\n"),
  );
});

t.test("with colour the diagonal is green and the brackets go", async (t) => {
  const text = renderConfusion(THREE, NAMES, { colour: true, unicode: true });
  t.match(text, "\x1b[1;32m1,200\x1b[0m");
  t.match(text, "\x1b[2m·\x1b[0m");
  t.notMatch(text, /\[5\]|\[1,200\]/);
});

t.test("where names are too wide, columns are headed by the numbers that the rows repeat", async (t) => {
  t.equal(
    renderConfusion({ classes: 2, counts: [5, 2, 1, 7] }, ["no parking today", "parking"], { columns: 40 }),
    [
      "Rows: the true class.",
      "Columns: what was predicted.",
      "In brackets: predicted right.",
      "                    0  1",
      "0 no parking today [5] 2",
      "1 parking           1 [7]",
    ].join("\n"),
  );
});

t.test("too many classes: the most confused pairs, and it is said", async (t) => {
  const counts = new Float64Array(2_500);
  for (let k = 0; k < 50; k += 1) counts[k * 50 + k] = 90;
  for (let k = 0; k < 12; k += 1) counts[k * 50 + k + 1] = 10 + k;
  const lines = renderConfusion({ classes: 50, counts }, ["nought", "one\x1b[2J"]).split("\n");
  t.same(lines.slice(0, 2), [
    "The matrix of 50 classes does not fit 80 columns.",
    "The 10 most confused of 12 pairs (share: of the true class):",
  ]);
  t.same(lines.slice(3, 6), [
    "| true | predicted | samples |  share |",
    "+------+-----------+---------+--------+",
    "| 11   | 12        |      21 | 18.92% |",
  ]);
  t.equal(lines.length, 2 + 3 + 10 + 1);
});

t.test("too many classes and no mistake", async (t) => {
  const counts = Array.from({ length: 2_500 }, (_, k) => (k % 51 === 0 ? 3 : 0));
  t.match(renderConfusion({ classes: 50, counts }), /No sample was taken for another class/);
});

t.test("property: no line exceeds the columns", async (t) => {
  const matrix = fc.integer({ min: 1, max: 30 }).chain((classes) =>
    fc.record({
      classes: fc.constant(classes),
      counts: fc.array(fc.nat(200_000), { minLength: classes ** 2, maxLength: classes ** 2 }),
      names: fc.array(fc.string({ unit: "grapheme", maxLength: 30 }), { maxLength: classes }),
    }),
  );
  fc.assert(
    fc.property(matrix, fc.integer({ min: 40, max: 160 }), fc.boolean(), ({ names, ...confusion }, columns, rich) =>
      renderConfusion(confusion, names, { columns, colour: rich, unicode: rich })
        .split("\n")
        .every((line) => displayWidth(line) <= columns),
    ),
  );
  t.pass("holds");
});

t.test("a table is aligned, also with wide and painted cells", async (t) => {
  const columns = [{ title: "name" }, { title: "n", align: "right" as const }];
  const rows = [["猫", "12"], "rule" as const, ["\x1b[1mdog\x1b[0m"]];
  t.equal(
    renderTable(columns, rows, { unicode: true }),
    [
      "┌──────┬────┐",
      "│ name │  n │",
      "├──────┼────┤",
      "│ 猫   │ 12 │",
      "├──────┼────┤",
      "│ \x1b[1mdog\x1b[0m  │    │",
      "└──────┴────┘",
    ].join("\n"),
  );
  t.match(renderTable(columns, rows), /^\+------\+----\+\n\| name \| {2}n \|\n/);
});
