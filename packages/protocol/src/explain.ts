/**
 * Says what is wrong with a value: which field, what was expected there, what was found.
 *
 * zod gives an issue's input only to error maps, not to the error that it finally returns. The schemas of this package therefore word their issues
 * in an error map (`expecting`), and `describeIssues` only puts the path in front; for a schema that was not written so it words the issue itself.
 */
import type { z } from "zod";
import { maxQuotedChars } from "./limits.ts";

type RawIssue = z.core.$ZodRawIssue;
type ErrorMap = { error: (issue: RawIssue) => string };

/** Cuts text to at most `maxChars` UTF-16 code units, the last of them an ellipsis, without splitting a surrogate pair. */
export function shorten(text: string, maxChars: number): string {
  if (text.length <= maxChars) return text;
  return `${text.slice(0, Math.max(0, maxChars - 1)).replace(/[\uD800-\uDBFF]$/, "")}…`;
}

/** A value from outside in at most 60 characters, with nothing in it that could break a log's line. Containers are summed up, never walked. */
export function quote(value: unknown): string {
  return shorten(summarise(value).replace(/[\p{C}\u2028\u2029]/gu, escapeCharacter), maxQuotedChars);
}

function summarise(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "string") return JSON.stringify(shorten(value, maxQuotedChars));
  if (typeof value === "bigint") return `the bigint ${shorten(String(value), maxQuotedChars)}`;
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return String(value);
  if (Array.isArray(value)) return `a list of ${value.length} items`;
  if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`;
  const keys = Object.keys(value);
  if (keys.length === 0) return "an object without fields";
  return `an object with ${keys.slice(0, 8).join(", ")}`;
}

function escapeCharacter(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

/** The error map of a leaf: whatever rule the value breaks, the same sentence. */
export function expecting(expected: string): ErrorMap {
  return { error: (issue) => `expected ${expected}, found ${quote(issue.input)}` };
}

/** The error map of an object that knows all its fields. */
export function expectingFields(fields: readonly string[]): ErrorMap {
  return {
    error: (issue) =>
      issue.code === "unrecognized_keys"
        ? `expected only ${fields.join(", ")}, found also ${quoteKeys(issue)}`
        : `expected an object with ${fields.join(", ")}, found ${quote(issue.input)}`,
  };
}

/** The error map of objects told apart by one of their fields. */
export function expectingOneOf(discriminator: string, values: readonly string[]): ErrorMap {
  const choice = values.map((value) => JSON.stringify(value)).join(" or ");
  return {
    error: (issue) =>
      issue.code === "invalid_union"
        ? `expected ${choice}, found ${quote(property(issue.input, discriminator))}`
        : `expected an object whose ${discriminator} is ${choice}, found ${quote(issue.input)}`,
  };
}

function quoteKeys(issue: { keys?: unknown }): string {
  return Array.isArray(issue.keys) ? issue.keys.slice(0, 3).map(quote).join(", ") : "others";
}

/**
 * One line for every issue: path to the field, what was expected, what was found, e.g.
 * `optimizer.learningRate: expected a number above 0, found -1`. Equal lines are given once.
 *
 * @param input what was parsed: only for schemas from outside this package, whose issues do not say what was found
 */
export function describeIssues(error: z.core.$ZodError, input?: unknown): string[] {
  const lines = error.issues.map((issue) => {
    const path = issue.path.length === 0 ? "the whole" : formatPath(issue.path);
    return `${path}: ${describe(issue, input)}`;
  });
  return [...new Set(lines)];
}

function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((part, depth) => (typeof part === "number" ? `[${part}]` : `${depth === 0 ? "" : "."}${plainKey(part)}`))
    .join("");
}

function plainKey(key: PropertyKey): string {
  const text = String(key);
  return /^[\w$-]{1,60}$/.test(text) ? text : quote(text);
}

function describe(issue: z.core.$ZodIssue, input: unknown): string {
  if (issue.message.startsWith("expected ")) return issue.message;
  const expected = expectation(issue);
  if (expected === undefined) return issue.message;
  if (issue.code === "unrecognized_keys") return `expected ${expected}, found also ${quoteKeys(issue)}`;
  if (issue.input !== undefined) return `expected ${expected}, found ${quote(issue.input)}`;
  return input === undefined
    ? `expected ${expected}`
    : `expected ${expected}, found ${quote(issue.path.reduce(property, input))}`;
}

const typeNames: Readonly<Record<string, string>> = {
  number: "a number",
  int: "a whole number",
  string: "text",
  boolean: "true or false",
  array: "a list",
  object: "an object",
};

function expectation(issue: z.core.$ZodIssue): string | undefined {
  switch (issue.code) {
    case "invalid_type":
      return typeNames[issue.expected] ?? issue.expected;
    case "too_small":
      return `${measure(issue.origin)} ${issue.inclusive ? "at least" : "above"} ${issue.minimum}`;
    case "too_big":
      return `${measure(issue.origin)} ${issue.inclusive ? "at most" : "below"} ${issue.maximum}`;
    case "not_multiple_of":
      return `a multiple of ${issue.divisor}`;
    case "invalid_value":
      return issue.values
        .map((value) => (typeof value === "string" ? JSON.stringify(value) : String(value)))
        .join(" or ");
    case "invalid_format":
      return "pattern" in issue && issue.format === "regex"
        ? `text like ${issue.pattern}`
        : `text that is a ${issue.format}`;
    case "unrecognized_keys":
      return "no other fields";
    default:
      return undefined;
  }
}

function measure(origin: string): string {
  if (origin === "string") return "text whose length is";
  if (origin === "array" || origin === "set") return "a list whose length is";
  return "a number";
}

function property(value: unknown, key: PropertyKey): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;
}
