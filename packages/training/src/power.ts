import { TrainingError } from "./training-error.ts";

/**
 * `base` to a whole, non-negative power, by repeated squaring.
 *
 * `Math.pow` and `**` may round differently from one engine version to the next (Node 22 and 24 do). A bias correction that differs in its
 * last bit would make two ranks drift apart, so only multiplication is used, which IEEE 754 defines to the bit.
 *
 * @throws TrainingError `INVALID_EXPONENT` if `exponent` is not an integer in 0 .. 2^53 - 1.
 */
export function power(base: number, exponent: number): number {
  if (!Number.isSafeInteger(exponent) || exponent < 0) {
    throw new TrainingError("INVALID_EXPONENT", `power: expected a whole exponent of at least 0, found ${exponent}`);
  }
  let result = 1;
  let square = base;
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result *= square;
    square *= square;
  }
  return result;
}
