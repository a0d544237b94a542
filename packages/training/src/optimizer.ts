/**
 * An optimizer is plain data and two pure things about it (in the taste of optax): which slots it keeps, and how a step changes them.
 *
 * State lives in flat float32 buffers in a shared memory, which whoever trains owns: parameters, gradients, and one buffer a slot, all laid
 * out alike. A step is one pass over any range of them, and its bits do not depend on how the ranges are cut; so threads share a step, each
 * with its part, and every rank ends up with the same parameters. A schedule gives each step `{ ...spec, learningRate }`.
 */
import { ADAM_SLOTS, type AdamSpec, checkAdam, updateAdam } from "./adam.ts";
import type { OptimizerKernels } from "./optimizer-kernels.ts";
import { checkRange, type UpdateRange } from "./optimizer-range.ts";
import { checkSgd, type SgdSpec, sgdSlots, updateSgd } from "./sgd.ts";

export type OptimizerSpec = AdamSpec | SgdSpec;

/** The flat buffers an optimizer keeps besides the parameters, in the order in which `UpdateRange.slots` has them. All start as zeros. */
export function slotNames(spec: OptimizerSpec): readonly string[] {
  switch (spec.kind) {
    case "adam":
      return ADAM_SLOTS;
    case "sgd":
      return sgdSlots(spec);
  }
}

/**
 * One optimizer step on the floats `start .. end` of the flat buffers.
 *
 * Gradients must be finite: a NaN would reach parameters and slots. Ranges of one step must not overlap.
 *
 * @throws TrainingError `INVALID_OPTIMIZER` or `INVALID_UPDATE` before anything is written.
 */
export function updateRange(kernels: OptimizerKernels, spec: OptimizerSpec, range: UpdateRange): void {
  checkRange(range, slotNames(spec));
  switch (spec.kind) {
    case "adam":
      checkAdam(spec);
      updateAdam(kernels, spec, range);
      break;
    case "sgd":
      checkSgd(spec);
      updateSgd(kernels, spec, range);
      break;
  }
}
