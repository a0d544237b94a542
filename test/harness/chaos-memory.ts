/** Other processes' memory (Linux): for a bit that flips as a broken memory module would flip it. */
import { closeSync, openSync, readFileSync, readSync, writeSync } from "node:fs";

/** Whether this process may write into another's memory: its own user's, where the system does not forbid ptrace. */
export function canWriteMemory(pid: number): boolean {
  try {
    closeSync(openSync(`/proc/${pid}/mem`, "r+"));
    return true;
  } catch {
    return false;
  }
}

const pieceBytes = 2 ** 22;

/** Flips a bit of the first float wherever these bytes lie in the process's memory. @returns in how many places */
export function flipBit(pid: number, needle: Uint8Array): number {
  const memory = openSync(`/proc/${pid}/mem`, "r+");
  try {
    const places = [...writable(pid)].flatMap((region) => find(memory, region, needle));
    for (const place of places) {
      const byte = Buffer.alloc(1);
      readSync(memory, byte, 0, 1, place + 2);
      writeSync(memory, Buffer.of(byte.readUInt8() ^ 0x40), 0, 1, place + 2);
    }
    return places.length;
  } finally {
    closeSync(memory);
  }
}

interface Region {
  readonly first: number;
  readonly end: number;
}

function* writable(pid: number): Generator<Region> {
  for (const line of readFileSync(`/proc/${pid}/maps`, "utf8").split("\n")) {
    const [, first = "", end = ""] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
    if (end !== "" && !line.endsWith("[vvar]"))
      yield { first: Number.parseInt(first, 16), end: Number.parseInt(end, 16) };
  }
}

function find(memory: number, { first, end }: Region, needle: Uint8Array): number[] {
  const places: number[] = [];
  const piece = Buffer.alloc(pieceBytes);
  for (let at = first; at < end; at += pieceBytes - needle.length) {
    let length = 0;
    try {
      length = readSync(memory, piece, 0, Math.min(pieceBytes, end - at), at);
    } catch {
      // A page that is not there.
    }
    const bytes = piece.subarray(0, length);
    for (let found = bytes.indexOf(needle); found >= 0; found = bytes.indexOf(needle, found + 1))
      places.push(at + found);
  }
  return [...new Set(places)];
}
