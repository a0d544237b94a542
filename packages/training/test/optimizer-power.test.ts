import fc from "fast-check";
import t from "tap";
import { power } from "../src/power.ts";
import { TrainingError } from "../src/training-error.ts";

t.test("a power whose value float64 holds is exact", async (t) => {
  const exact: readonly (readonly [number, number, number])[] = [
    [0.9, 0, 1],
    [0, 0, 1],
    [0, 5, 0],
    [0.9, 1, 0.9],
    [0.999, 2, 0.999 * 0.999],
    [2, 52, 2 ** 52],
    [-3, 3, -27],
    [0.5, 1074, Number.MIN_VALUE],
    [0.5, Number.MAX_SAFE_INTEGER, 0],
  ];
  for (const [base, exponent, expected] of exact) t.equal(power(base, exponent), expected, `${base}^${exponent}`);
});

t.test("a decay's power is right to the rounding of its multiplications", async (t) => {
  const decay = fc.double({ min: 0.5, max: 0.9999, noNaN: true });
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(decay, fc.nat({ max: 2000 }), (base, exponent) => {
        // Squaring doubles a relative error, so it grows with the exponent; Math.pow itself errs by an ulp or so.
        const expected = base ** exponent;
        return (
          Math.abs(power(base, exponent) - expected) <=
          expected * (exponent + 2) * Number.EPSILON + Number.MIN_VALUE * 4
        );
      }),
    ),
  );
});

t.test("known bits stay", async (t) => {
  // 0.9^10 and 0.999^1000 by the same multiplications in Python.
  t.equal(power(0.9, 10), 0.34867844010000015);
  t.equal(power(0.999, 1000), 0.36769542477096695);
});

t.test("an exponent that is not whole is refused", async (t) => {
  for (const exponent of [-1, 0.5, Number.NaN, 2 ** 53]) {
    t.throws(
      () => power(0.9, exponent),
      new TrainingError("INVALID_EXPONENT", `power: expected a whole exponent of at least 0, found ${exponent}`),
    );
  }
});
