import { displayWidth } from "./display-width.ts";

/** `text` as lines of at most `columns` columns, broken at spaces; a word that is wider by itself is broken where it has to be. Never empty. */
export function wrapWords(text: string, columns: number): [string, ...string[]] {
  const width = Math.max(2, columns); // A wide character needs two.
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && displayWidth(line) + 1 + displayWidth(word) <= width) {
      line += ` ${word}`;
      continue;
    }
    if (line !== "") lines.push(line);
    line = "";
    for (const character of word) {
      if (displayWidth(line + character) > width) {
        lines.push(line);
        line = "";
      }
      line += character;
    }
  }
  const [first = "", ...rest] = [...lines, line];
  return [first, ...rest];
}

/** Sentences on one line where they fit, else each from a line of its own. */
export function wrapSentences(sentences: readonly string[], columns: number): string[] {
  const together = sentences.join(" ");
  return displayWidth(together) <= columns ? [together] : sentences.flatMap((sentence) => wrapWords(sentence, columns));
}
