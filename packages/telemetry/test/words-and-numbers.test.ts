import fc from "fast-check";
import t from "tap";
import {
  displayWidth,
  fit,
  formatBytes,
  formatCount,
  formatDuration,
  formatLoss,
  formatPercent,
  padEnd,
  padStart,
  paint,
  plain,
  terminalStyle,
} from "../src/index.ts";
import { wrapWords } from "../src/word-wrap.ts";

function table<A>(title: string, of: (value: A) => unknown, rows: readonly (readonly [A, unknown])[]): void {
  t.test(title, async (t) => {
    for (const [value, expected] of rows) t.equal(of(value), expected, `${JSON.stringify(value)} is ${expected}`);
  });
}

table("a duration has two units at most and carries when it rounds", formatDuration, [
  [0, "0.0s"],
  [0.42, "0.4s"],
  [9.94, "9.9s"],
  [9.96, "10s"],
  [59.4, "59s"],
  [59.6, "1m 00s"],
  [65, "1m 05s"],
  [3599.4, "59m 59s"],
  [3599.6, "1h 00m"],
  [7_380, "2h 03m"],
  [86_399, "1d 00h"],
  [273_600, "3d 04h"],
  [Number.NaN, "?"],
  [Number.POSITIVE_INFINITY, "?"],
  [-1, "?"],
]);
table("a count is grouped in threes", formatCount, [
  [0, "0"],
  [999, "999"],
  [999.6, "1,000"],
  [1234567, "1,234,567"],
  [-1234, "-1,234"],
  [-0.2, "0"],
  [Number.NaN, "NaN"],
]);
table("bytes are in binary units", formatBytes, [
  [0, "0 B"],
  [1023, "1023 B"],
  [1024, "1.0 KiB"],
  [1536, "1.5 KiB"],
  [1024 * 1024 - 1, "1.0 MiB"],
  [4 * 2 ** 30, "4.0 GiB"],
]);
table("only what is wholly right is 100 per cent", formatPercent, [
  [0, "0.00%"],
  [0.9612, "96.12%"],
  [0.99999, "99.99%"],
  [1, "100.00%"],
  [Number.NaN, "NaN"],
]);
table("a loss keeps about six characters", formatLoss, [
  [0, "0.0000"],
  [0.07123, "0.0712"],
  [12.3456, "12.35"],
  [0.00001234, "1.23e-5"],
  [1234567, "1.23e+6"],
  [Number.POSITIVE_INFINITY, "Infinity"],
]);
table("width is in columns", displayWidth, [
  ["", 0],
  ["cat", 3],
  ["猫", 2],
  ["ねこ", 4],
  ["고양이", 6],
  ["🐈", 2],
  ["e\u0301", 1],
  ["é", 1],
  ["\x1b[1;32m900\x1b[0m", 3],
  ["━━", 2],
]);
table("text from elsewhere becomes one harmless line", plain, [
  ["cat", "cat"],
  ["a\nb\tc", "a b c"],
  ["\x1b[2Jgone", "gone"],
  ["a\u202eb", "a b"],
]);

t.test("text that is cut says so, if there is room to", async (t) => {
  t.equal(fit("automobile", 10), "automobile");
  t.equal(fit("automobile", 9), "automo...");
  t.equal(fit("automobile", 9, "…"), "automobi…");
  t.equal(fit("automobile", 3), "aut");
  t.equal(fit("猫猫猫", 5, ""), "猫猫", "a wide character is not halved");
  t.equal(padEnd("猫", 4), "猫  ");
  t.equal(padStart("猫", 4), "  猫");
});

t.test("property: a fitted text and wrapped lines never exceed their columns, and wrapping loses no word", async () => {
  const text = fc.string({ unit: "grapheme", maxLength: 60 });
  fc.assert(fc.property(text, fc.nat(40), (s, columns) => displayWidth(fit(s, columns)) <= columns));
  fc.assert(
    fc.property(text, fc.integer({ min: 2, max: 40 }), (s, columns) => {
      const lines = wrapWords(plain(s), columns);
      const kept = lines.join("").replaceAll(" ", "") === plain(s).replaceAll(" ", "");
      return kept && lines.every((line) => displayWidth(line) <= columns);
    }),
  );
});

t.test("words wrap at spaces", async (t) => {
  t.same(wrapWords("the hash holds for this CPU", 10), ["the hash", "holds for", "this CPU"]);
  t.same(wrapWords("unbreakable", 4), ["unbr", "eaka", "ble"]);
  t.same(wrapWords("", 4), [""]);
});

t.test("a terminal's style follows NO_COLOR, TERM and the locale", async (t) => {
  const utf8 = { LANG: "de_AT.UTF-8" };
  t.same(terminalStyle({ isTTY: true, columns: 120, env: utf8 }), { columns: 120, colour: true, unicode: true });
  t.match(terminalStyle({ isTTY: true, env: { ...utf8, NO_COLOR: "1" } }), { columns: 80, colour: false });
  t.match(terminalStyle({ isTTY: true, env: { NO_COLOR: "" } }), { colour: true, unicode: false });
  t.match(terminalStyle({ isTTY: true, env: { TERM: "dumb" } }), { colour: false });
  t.match(terminalStyle({ isTTY: false, env: utf8 }), { colour: false, unicode: true });
  t.match(terminalStyle({ isTTY: true, env: { ...utf8, LC_ALL: "C" } }), { unicode: false });
  t.equal(paint("x", ["bold", "green"], true), "\x1b[1;32mx\x1b[0m");
  t.equal(paint("x", ["bold"], false), "x");
});
