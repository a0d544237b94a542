/**
 * How many terminal columns a text takes.
 *
 * Kept simple on purpose: code points, not grapheme clusters. East Asian wide and full-width characters and emoji take two columns, combining
 * and format characters none, the rest one. A joined emoji (family, flag) is measured wider than it is drawn, never narrower, so a fitted line
 * never wraps.
 */
import { stripVTControlCharacters } from "node:util";

const ZERO_WIDTH = /^[\p{Mn}\p{Me}\p{Cf}]$/u;
const EMOJI = /^\p{Emoji_Presentation}$/u;
const VARIATION_SELECTOR_16 = 0xfe0f; // Makes the symbol before it an emoji, so one column wider.

/** First and last code points of the wide blocks (Unicode 15, East Asian Width W and F, whole blocks). */
const WIDE: readonly (readonly [number, number])[] = [
  [0x1100, 0x115f],
  [0x2e80, 0x303e],
  [0x3041, 0x4dbf],
  [0x4e00, 0xa4cf],
  [0xa960, 0xa97f],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe30, 0xfe6f],
  [0xff00, 0xff60],
  [0xffe0, 0xffe6],
  [0x16fe0, 0x18d08],
  [0x1aff0, 0x1b2fb],
  [0x20000, 0x3fffd],
];

/** Columns that `text` takes; escape sequences take none. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of stripVTControlCharacters(text)) width += characterWidth(character);
  return width;
}

function characterWidth(character: string): number {
  const point = character.codePointAt(0) ?? 0;
  if (point >= 0x20 && point < 0x7f) return 1;
  if (point === VARIATION_SELECTOR_16) return 1;
  if (ZERO_WIDTH.test(character)) return 0;
  if (WIDE.some(([first, last]) => point >= first && point <= last) || EMOJI.test(character)) return 2;
  return 1;
}

/** `text` cut to at most `columns` columns, ending in an ellipsis if something went. For plain text: escape sequences are not kept whole. */
export function fit(text: string, columns: number, ellipsis = "..."): string {
  if (displayWidth(text) <= columns) return text;
  const mark = displayWidth(ellipsis) < columns ? ellipsis : "";
  let room = columns - displayWidth(mark);
  let kept = "";
  for (const character of text) {
    room -= characterWidth(character);
    if (room < 0) break;
    kept += character;
  }
  return kept.trimEnd() + mark;
}

export function padEnd(text: string, columns: number): string {
  return text + " ".repeat(Math.max(0, columns - displayWidth(text)));
}

export function padStart(text: string, columns: number): string {
  return " ".repeat(Math.max(0, columns - displayWidth(text))) + text;
}

/**
 * Text from elsewhere (a class's folder name, a device's name) as one line that commands no terminal: escape sequences are removed, other
 * control characters and line ends become spaces.
 */
export function plain(text: string): string {
  // Bidirectional controls reorder what follows them on the line, so they go the same way.
  return stripVTControlCharacters(text).replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, " ");
}
