/**
 * Looks over a msgpack value's headers before anything is decoded.
 *
 * A decoder recurses with the depth of what it reads and builds whatever is declared, so 100 KB of nested arrays overflow its stack and 8 MB of
 * empty maps become half a gigabyte of objects. This walk holds sixteen counters and allocates nothing: each header says how many bytes to skip
 * or how many values follow. What it lets through has a bounded depth, bounded counts, string keys, no extension types and exactly the
 * bytes given, so that decoding it is cheap and finds nothing more to refuse.
 * Source: https://github.com/msgpack/msgpack/blob/master/spec.md
 */
import { maxControlContainers, maxControlDepth, maxControlValues, maxMapEntries } from "./limits.ts";
import { ProtocolError } from "./protocol-error.ts";

/** @throws ProtocolError unless `bytes` are one msgpack map within bounds and nothing after it */
export function checkOutline(bytes: Uint8Array): void {
  const values = new ValueCounter();
  let position = 0;
  while (!values.done) {
    const format = bytes[position];
    if (format === undefined) throw cutShort(bytes, position, "a value");
    const wantsMap = position === 0;
    const wantsKey = values.isKey;
    const headerBytes = 1 + lengthBytes(format);
    if (position + headerBytes > bytes.length) throw cutShort(bytes, position, "a header");
    if (isUnused(format))
      throw malformed(position, "plain values", `format 0x${format.toString(16)} (an extension or unused)`);
    if (wantsKey && !isString(format))
      throw malformed(position, "a map's key to be text", `format 0x${format.toString(16)}`);
    if (wantsMap && !isMap(format)) throw malformed(position, "a map", `format 0x${format.toString(16)}`);

    const size = isContainer(format) || isString(format) || isBinary(format) ? declared(bytes, position, format) : 0;
    position += headerBytes;
    // A container's items take a byte each at least: what cannot be there is not waited for.
    const leastBytes = isContainer(format) ? size * (isMap(format) ? 2 : 1) : size + scalarBytes(format);
    if (leastBytes > bytes.length - position) throw cutShort(bytes, position, `${leastBytes} bytes`);
    if (isContainer(format)) values.open(isMap(format), size, position);
    else {
      position += leastBytes;
      values.close(position);
    }
  }
  if (position !== bytes.length)
    throw malformed(position, "the message to end here", `${bytes.length - position} bytes more`);
}

/** Which value comes next: how many are still to come on each level, and which levels are maps. */
class ValueCounter {
  readonly #remaining = new Uint32Array(maxControlDepth);
  readonly #isMap = new Uint8Array(maxControlDepth);
  #depth = 0;
  #values = 0;
  #containers = 0;

  get done(): boolean {
    return this.#depth === 0 && this.#values > 0;
  }

  /** In a map keys and values take turns, and an even number is left before a key. */
  get isKey(): boolean {
    const level = this.#depth - 1;
    return level >= 0 && this.#isMap[level] === 1 && (this.#remaining[level] ?? 0) % 2 === 0;
  }

  open(isMap: boolean, size: number, position: number): void {
    this.#containers += 1;
    if (this.#containers > maxControlContainers) throw tooMany(`${maxControlContainers} maps and lists`, position);
    if (isMap && size > maxMapEntries) throw tooMany(`${maxMapEntries} fields in a map`, position);
    if (size === 0) {
      this.close(position);
      return;
    }
    if (this.#depth === maxControlDepth) throw tooMany(`${maxControlDepth} levels`, position);
    this.#remaining[this.#depth] = isMap ? 2 * size : size;
    this.#isMap[this.#depth] = isMap ? 1 : 0;
    this.#depth += 1;
  }

  /** A value is complete, and with it every container of which it is the last. */
  close(position: number): void {
    this.#values += 1;
    if (this.#values > maxControlValues) throw tooMany(`${maxControlValues} values`, position);
    while (this.#depth > 0) {
      const level = this.#depth - 1;
      const left = (this.#remaining[level] ?? 0) - 1;
      this.#remaining[level] = left;
      if (left > 0) return;
      this.#depth = level;
    }
  }
}

const isMap = (format: number) => (format >= 0x80 && format <= 0x8f) || format === 0xde || format === 0xdf;
const isArray = (format: number) => (format >= 0x90 && format <= 0x9f) || format === 0xdc || format === 0xdd;
const isContainer = (format: number) => isMap(format) || isArray(format);
const isString = (format: number) => (format >= 0xa0 && format <= 0xbf) || (format >= 0xd9 && format <= 0xdb);
const isBinary = (format: number) => format >= 0xc4 && format <= 0xc6;
/** 0xc1, ext 8 to ext 32, fixext 1 to fixext 16. */
const isUnused = (format: number) =>
  format === 0xc1 || (format >= 0xc7 && format <= 0xc9) || (format >= 0xd4 && format <= 0xd8);

/** Bytes of the length that follows the format byte. */
function lengthBytes(format: number): number {
  if (format === 0xc4 || format === 0xd9) return 1;
  if (format === 0xc5 || format === 0xda || format === 0xdc || format === 0xde) return 2;
  return format === 0xc6 || format === 0xdb || format === 0xdd || format === 0xdf ? 4 : 0;
}

/** Bytes of a number after its format byte: float 32 and 64, uint 8 to 64, int 8 to 64. */
function scalarBytes(format: number): number {
  if (format === 0xca) return 4;
  if (format === 0xcb) return 8;
  return (format >= 0xcc && format <= 0xcf) || (format >= 0xd0 && format <= 0xd3) ? 1 << (format & 3) : 0;
}

/** Items or bytes that a container, text or binary says it has. */
function declared(bytes: Uint8Array, position: number, format: number): number {
  const width = lengthBytes(format);
  if (width === 0) return isString(format) ? format & 0x1f : format & 0x0f;
  let size = 0;
  for (let index = 1; index <= width; index += 1) size = size * 256 + (bytes[position + index] ?? 0);
  return size;
}

function cutShort(bytes: Uint8Array, position: number, expected: string): ProtocolError {
  return new ProtocolError(
    "MESSAGE_CUT_SHORT",
    `expected ${expected} at byte ${position} of a control message, found ${bytes.length - position} bytes left`,
  );
}

function malformed(position: number, expected: string, found: string): ProtocolError {
  return new ProtocolError(
    "MESSAGE_MALFORMED",
    `expected ${expected} at byte ${position} of a control message, found ${found}`,
  );
}

function tooMany(bound: string, position: number): ProtocolError {
  return new ProtocolError(
    "MESSAGE_TOO_LARGE",
    `expected at most ${bound} in a control message, found more at byte ${position}`,
  );
}
