import { createReadStream } from "node:fs";

const LINE_FEED = 0x0a;

export interface Line {
  /** From 1, as an editor counts. */
  readonly number: number;
  /** Without its line end. */
  readonly text: string;
  /** False only of the last line, where the file ends inside it: it may be torn. */
  readonly ended: boolean;
}

/** The lines of a file, one at a time, so that a file of any length can be read. Unlike readline it tells whether the last line was ended, and ends lines at LF only. */
export async function* linesOf(path: string): AsyncGenerator<Line> {
  let number = 0;
  let rest: Buffer[] = []; // A line that goes on in the next piece.
  for await (const piece of createReadStream(path)) {
    const bytes: Buffer = piece;
    let start = 0;
    for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, start)) {
      number += 1;
      yield { number, text: Buffer.concat([...rest, bytes.subarray(start, end)]).toString("utf8"), ended: true };
      rest = [];
      start = end + 1;
    }
    if (start < bytes.length) rest.push(bytes.subarray(start));
  }
  if (rest.length > 0) yield { number: number + 1, text: Buffer.concat(rest).toString("utf8"), ended: false };
}
