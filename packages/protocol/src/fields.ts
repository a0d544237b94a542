/** The kinds of field that messages are made of, each bounded, each saying what it expects. */
import { z } from "zod";
import { expecting, expectingFields, expectingOneOf } from "./explain.ts";
import { maxHostChars, maxLabelChars, maxUint32 } from "./limits.ts";

/** A whole number within bounds, both included, and a multiple of `step`. */
export function integer(minimum: number, maximum: number, step = 1) {
  const what = step === 1 ? "a whole number" : `a multiple of ${step}`;
  const bounds = maximum === Number.MAX_SAFE_INTEGER ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
  const said = expecting(`${what} ${bounds}`);
  return z.int(said).min(minimum, said).max(maximum, said).multipleOf(step, said);
}

/** A finite number. */
export const finite = () => z.number(expecting("a finite number"));

/** A finite number of at least 0. */
export function atLeastZero() {
  const said = expecting("a number of at least 0");
  return z.number(said).min(0, said);
}

/** A finite number above 0. */
export function aboveZero() {
  const said = expecting("a number above 0");
  return z.number(said).gt(0, said);
}

/** A number in [0, 1], or in [0, 1) where the end is left out. */
export function fraction(end: "included" | "excluded") {
  const said = expecting(end === "included" ? "a number from 0 to 1" : "a number from 0 to below 1");
  const fromZero = z.number(said).min(0, said);
  return end === "included" ? fromZero.max(1, said) : fromZero.lt(1, said);
}

/** Any number at all: the loss of a run that diverges is NaN or infinite, and must be able to say so. */
export const anyNumber = () => z.custom<number>((value) => typeof value === "number", expecting("a number"));

/** Text with a least and a greatest length in UTF-16 code units. */
export function text(minChars: number, maxChars: number) {
  const said = expecting(`text of ${minChars} to ${maxChars} characters`);
  return z.string(said).min(minChars, said).max(maxChars, said);
}

/** Text of a fixed form, described in words. */
export function textLike(pattern: RegExp, maxChars: number, description: string) {
  const said = expecting(description);
  return z.string(said).max(maxChars, said).regex(pattern, said);
}

export const label = () => text(0, maxLabelChars);
export const host = () => textLike(/^[!-~]+$/, maxHostChars, `a host of 1 to ${maxHostChars} printable characters`);
export const hash = () => textLike(/^[0-9a-f]{64}$/, 64, "a hash of 64 lower-case hex digits");
/** See state-id.ts. */
export const stateId = () => textLike(/^[0-9a-f]{16}$/, 16, "a state's id of 16 lower-case hex digits");
export const workerId = () => z.uuid(expecting("a UUID"));
export const uint32 = () => integer(0, maxUint32);
/** A count; exact up to 2^53 - 1. */
export const count = (minimum = 0) => integer(minimum, Number.MAX_SAFE_INTEGER);
export const flag = () => z.boolean(expecting("true or false"));

export function oneOf<const Values extends readonly [string, ...string[]]>(...values: Values) {
  return z.enum(values, expecting(values.map((value) => JSON.stringify(value)).join(" or ")));
}

/** Just this value. */
export function exactly<const Value extends string | number>(value: Value) {
  return z.literal(value, expecting(JSON.stringify(value)));
}

/** An object with these fields and no others. */
export function record<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.strictObject(shape, expectingFields(Object.keys(shape)));
}

/** Objects told apart by the text in their field `kind`. */
export function variants<
  const Options extends readonly [z.core.$ZodTypeDiscriminable, ...z.core.$ZodTypeDiscriminable[]],
>(kinds: readonly string[], options: Options) {
  return z.discriminatedUnion("kind", options, expectingOneOf("kind", kinds));
}

/**
 * A bounded list that stops at its first bad item. (zod's own array parses every item whatever its length and keeps every issue: a hostile
 * million of bad items costs it 400 MB.)
 */
export function list<Item extends z.ZodType>(item: Item, minItems: number, maxItems: number) {
  return z.unknown().transform((value, context): z.output<Item>[] => {
    if (!Array.isArray(value) || value.length < minItems || value.length > maxItems) {
      const said = expecting(`a list of ${minItems} to ${maxItems} items`);
      context.issues.push({ code: "custom", input: value, message: said.error({ code: "custom", input: value }) });
      return z.NEVER;
    }
    const items: z.output<Item>[] = [];
    for (const [index, candidate] of value.entries()) {
      const parsed = item.safeParse(candidate);
      if (!parsed.success) {
        for (const { path, message } of parsed.error.issues) {
          context.issues.push({ code: "custom", input: candidate, path: [index, ...path], message });
        }
        return z.NEVER;
      }
      items.push(parsed.data);
    }
    return items;
  });
}
