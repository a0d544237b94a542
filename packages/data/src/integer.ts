import { DataError } from "./data-error.ts";

/** Refuses anything but an integer in [least, most]; `what` is the subject of the error's sentence. */
export function requireInteger(what: string, value: number, least: number, most = Number.MAX_SAFE_INTEGER): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return;
  const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `in [${least}, ${most}]`;
  throw new DataError("BAD_ARGUMENT", `${what} must be an integer ${range}, found ${value}`);
}
