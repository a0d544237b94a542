import type { FileHandle } from "node:fs/promises";
import { parseStep } from "./metrics-record.ts";

const LINE_FEED = 0x0a;
const PIECE_BYTES = 1 << 16;

/**
 * Leaves a metrics file that is open for appending at the end of a line: a last line that an earlier writer did not finish is cut away, one that is whole but
 * for its line end is ended.
 *
 * @returns the file's length then.
 */
export async function endAtWholeLine(file: FileHandle): Promise<number> {
  const { size } = await file.stat();
  let tail = Buffer.alloc(0);
  for (let at = size; at > 0 && !tail.includes(LINE_FEED); ) {
    const piece = Buffer.alloc(Math.min(PIECE_BYTES, at));
    at -= piece.length;
    await file.read(piece, 0, piece.length, at);
    tail = Buffer.concat([piece, tail]);
  }
  const line = tail.subarray(tail.lastIndexOf(LINE_FEED) + 1);
  if (line.length === 0) return size;
  if (isWhole(line.toString())) {
    await file.writeFile("\n");
    return size + 1;
  }
  await file.truncate(size - line.length);
  return size - line.length;
}

/** No beginning of a JSON object is one itself: what parses is whole. */
function isWhole(line: string): boolean {
  try {
    parseStep(line, "the last line");
    return true;
  } catch {
    return false;
  }
}
