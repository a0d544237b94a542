import { TrainingError } from "./training-error.ts";

/** Half-open or open at 0, as torch.optim has them; the bounds that its formulas need to stay finite. */
const RANGES = {
  "at least 0": (value: number) => value >= 0,
  "at least 0 and below 1": (value: number) => value >= 0 && value < 1,
  "above 0 in float32": (value: number) => Math.fround(value) > 0,
} as const;

/** Throws TrainingError `INVALID_OPTIMIZER` unless `value` is a finite number in `range`. */
export function expectHyperparameter(name: string, value: number, range: keyof typeof RANGES): void {
  if (!Number.isFinite(value) || !RANGES[range](value)) {
    throw new TrainingError("INVALID_OPTIMIZER", `${name}: expected a finite number ${range}, found ${String(value)}`);
  }
}
