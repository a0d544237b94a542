import { TrainingError } from "./training-error.ts";

/** Which floats of the flat buffers one call updates, and for which step. */
export interface UpdateRange {
  /** Byte offset of the flat parameters, a multiple of 4; updated in place. */
  readonly parameters: number;
  /** Byte offset of the flat gradients, laid out like the parameters: *sums* over the step's samples; left as they are. */
  readonly gradients: number;
  /** Byte offsets of the flat slots, in the order of `slotNames`, laid out like the parameters; updated in place. Zeros before step 1. */
  readonly slots: readonly number[];
  /** First float of the range, counted from the start of the buffers. */
  readonly start: number;
  /** One past the last float of the range. */
  readonly end: number;
  /** Which optimizer step this is, from 1: the optimizer's own count, which a skipped update does not advance. */
  readonly step: number;
  /** What the gradient sums are divided by: the global batch's sample count or weight, times the loss scale where there is one. */
  readonly samples: number;
}

/** Throws TrainingError `INVALID_UPDATE` unless the kernels can be trusted with `range`. */
export function checkRange(range: UpdateRange, slotNames: readonly string[]): void {
  const { start, end, step, samples } = range;
  expect(isCount(start) && isCount(end) && start <= end, "whole floats with 0 <= start <= end", `${start} .. ${end}`);
  expect(isCount(step) && step >= 1, "a step counted from 1", step);
  expect(Number.isFinite(samples) && samples > 0, "a finite number of samples above 0", samples);
  const slots = slotNames.length === 0 ? "no slots" : `the slots ${slotNames.join(", ")}`;
  expect(range.slots.length === slotNames.length, slots, `${range.slots.length} byte offsets`);
  for (const offset of [range.parameters, range.gradients, ...range.slots]) {
    expect(isCount(offset) && offset % 4 === 0, "byte offsets that are multiples of 4", offset);
  }
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function expect(holds: boolean, expected: string, found: number | string): void {
  if (!holds) throw new TrainingError("INVALID_UPDATE", `updateRange: expected ${expected}, found ${found}`);
}
