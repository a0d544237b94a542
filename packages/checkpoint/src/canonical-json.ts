/**
 * One text for one value: the same state gives the same file, on every machine and in every order in which it was put together.
 */
import { CheckpointError } from "./checkpoint-error.ts";

const MAX_DEPTH = 100;

/**
 * JSON with keys sorted (by UTF-16 code unit), indented by 2 spaces, ended by a newline. What it writes reads back as it was, -0 included.
 * A property that is `undefined` is left out, as in JSON.stringify.
 *
 * @throws CheckpointError `JSON_INVALID` for what JSON cannot carry exactly (NaN, Infinity, undefined in an array, functions, bigints,
 * dates, typed arrays, class instances, a key `__proto__`, more than 100 levels), naming the place
 */
export function canonicalJson(value: unknown): string {
  return `${render(value, "$", 0)}\n`;
}

function render(value: unknown, path: string, depth: number): string {
  if (value === null || typeof value === "boolean" || typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number") return renderNumber(value, path);
  if (depth >= MAX_DEPTH) throw notJson(path, `more than ${MAX_DEPTH} levels (a cycle?)`);
  if (Array.isArray(value)) {
    const items = Array.from(value, (item: unknown, index) => render(item, `${path}[${index}]`, depth + 1));
    return block("[", items, "]", depth);
  }
  if (isPlainObject(value)) {
    const members = Object.keys(value)
      .sort()
      .filter((key) => value[key] !== undefined)
      .map((key) => {
        if (key === "__proto__") throw notJson(path, "a key `__proto__`");
        return `${JSON.stringify(key)}: ${render(value[key], `${path}.${key}`, depth + 1)}`;
      });
    return block("{", members, "}", depth);
  }
  throw notJson(
    path,
    typeof value === "object" ? `a ${value.constructor?.name ?? "special object"}` : `a value of type ${typeof value}`,
  );
}

function renderNumber(value: number, path: string): string {
  if (!Number.isFinite(value)) throw notJson(path, String(value));
  // JSON.stringify drops the sign, JSON.parse keeps it: state must come back bit by bit.
  return Object.is(value, -0) ? "-0" : JSON.stringify(value);
}

function block(open: string, lines: readonly string[], close: string, depth: number): string {
  if (lines.length === 0) return open + close;
  const inner = "  ".repeat(depth + 1);
  return `${open}\n${inner}${lines.join(`,\n${inner}`)}\n${"  ".repeat(depth)}${close}`;
}

/** An object as JSON has it: made by a literal, JSON.parse or Object.create(null). */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  // Not `=== Object.prototype`: a config module may have been loaded in a realm of its own.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function notJson(path: string, found: string): CheckpointError {
  return new CheckpointError(
    "JSON_INVALID",
    `expected a value that JSON carries exactly at ${path}, found ${found}: hold numbers, strings, booleans, null, plain objects and arrays only`,
  );
}
