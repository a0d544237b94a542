/**
 * The header of a safetensors file: the small part of JSON that the format uses, read strictly.
 *
 * `JSON.parse` is not enough for bytes that may be damaged or hostile: it lets the last of two equal keys win (so two readers may see
 * two different tensors), moves keys that look like integers to the front (so a tensor named "0" changes its place), and knows nothing of
 * depth. Here an object is a Map in the order of the file, a repeated key is an error, numbers are unsigned integers, and nothing nests
 * deeper than the format does: {name: {key: [number]}}.
 */
import { CheckpointError } from "./checkpoint-error.ts";

export type HeaderValue = string | number | readonly HeaderValue[] | HeaderObject;
export type HeaderObject = ReadonlyMap<string, HeaderValue>;

const MAX_DEPTH = 3;

/** The error for bytes that are not what the format says. */
export function malformed(problem: string, cause?: unknown): CheckpointError {
  const message = `not a sound safetensors file: ${problem}; it is damaged or something else, so fetch or write it again`;
  return new CheckpointError("SAFETENSORS_MALFORMED", message, cause === undefined ? undefined : { cause });
}

/**
 * Parses a whole header, trailing padding included.
 *
 * @throws CheckpointError `SAFETENSORS_MALFORMED`
 */
export function parseHeader(text: string): HeaderObject {
  let at = 0;

  function unexpected(expected: string): CheckpointError {
    const found = at < text.length ? JSON.stringify(text.slice(at, at + 12)) : "its end";
    return malformed(`expected ${expected} at character ${at} of the header, found ${found}`);
  }

  function skipSpace(): void {
    while (at < text.length && " \n\r\t".includes(text.charAt(at))) at++;
  }

  function take(character: string): boolean {
    skipSpace();
    if (text[at] !== character) return false;
    at++;
    return true;
  }

  function parseString(): string {
    skipSpace();
    const start = at;
    if (text[at] !== '"') throw unexpected("a string");
    for (at++; at < text.length && text[at] !== '"'; at++) if (text[at] === "\\") at++;
    at++;
    let value: unknown;
    try {
      value = JSON.parse(text.slice(start, at));
    } catch {
      at = start;
      throw unexpected("a sound JSON string");
    }
    if (typeof value !== "string" || !value.isWellFormed()) {
      at = start;
      throw unexpected("a string of whole Unicode characters");
    }
    return value;
  }

  function parseInteger(): number {
    const start = at;
    while (at < text.length && text.charAt(at) >= "0" && text.charAt(at) <= "9") at++;
    const digits = text.slice(start, at);
    const value = Number(digits);
    if (digits === "" || (digits.length > 1 && digits[0] === "0") || !Number.isSafeInteger(value)) {
      at = start;
      throw unexpected("a string, an array, an object or an unsigned integer below 2^53");
    }
    return value;
  }

  function parseArray(depth: number): readonly HeaderValue[] {
    const values: HeaderValue[] = [];
    if (take("]")) return values;
    do values.push(parseValue(depth + 1));
    while (take(","));
    if (!take("]")) throw unexpected("`,` or `]`");
    return values;
  }

  function parseObject(depth: number): HeaderObject {
    const entries = new Map<string, HeaderValue>();
    if (take("}")) return entries;
    do {
      const key = parseString();
      if (entries.has(key)) throw malformed(`${JSON.stringify(key)} appears twice in one object of the header`);
      if (!take(":")) throw unexpected("`:`");
      entries.set(key, parseValue(depth + 1));
    } while (take(","));
    if (!take("}")) throw unexpected("`,` or `}`");
    return entries;
  }

  function parseValue(depth: number): HeaderValue {
    skipSpace();
    if (text[at] === '"') return parseString();
    if (text[at] !== "{" && text[at] !== "[") return parseInteger();
    if (depth > MAX_DEPTH) throw unexpected(`nothing nested deeper than ${MAX_DEPTH}`);
    return text[at++] === "{" ? parseObject(depth) : parseArray(depth);
  }

  // The format wants `{` as the very first byte: no byte order mark, no leading space.
  if (text[at++] !== "{") {
    at = 0;
    throw unexpected("`{`");
  }
  const root = parseObject(1);
  skipSpace();
  if (at < text.length) throw unexpected("only padding after the header's object");
  return root;
}
