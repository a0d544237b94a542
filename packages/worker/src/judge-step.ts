/** What a reduced step may be used for: whether it saw the samples that it should have, and whether what came of them is finite. The same on every rank. */
import { maxLeftOut, type RunConfig, type RunProgress } from "@ringmaster/protocol";
import type { Tail } from "@ringmaster/training";
import { lowestLossScale } from "./loss-scale.ts";
import type { StepUse } from "./progress.ts";

export interface StepFault {
  readonly code: "RECEIPT_WRONG" | "LOSS_NOT_FINITE" | "GRADIENT_NOT_FINITE";
  readonly message: string;
}

/** The run goes back to its newest checkpoint for this step. */
export interface SpoiledStep {
  readonly goBack: string;
}

/** So many steps that are left out one after another end a run that skips them. */
const mostSkippedInRow = 10;

/**
 * @param progress before the step; messages count steps as users do, from 1
 * @param notFinite what is known of tensors that are not finite; null where nothing is
 */
export function judgeStep(
  { tail, expected, notFinite }: { tail: Tail; expected: Pick<Tail, "samples" | "receipt">; notFinite: string | null },
  { step, lossScale, skippedInRow, leftOut }: RunProgress,
  { precision, onNotFinite }: RunConfig,
): StepUse | StepFault | SpoiledStep {
  const isRight =
    tail.samples === expected.samples && tail.receipt.every((limb, index) => limb === expected.receipt[index]);
  if (!isRight) {
    const found = `${tail.samples} samples with receipt ${tail.receipt.join(".")}`;
    const wanted = `${expected.samples} samples with receipt ${expected.receipt.join(".")}`;
    const message = `step ${step + 1}: a sample was left out, used twice or stale: expected ${wanted}, found ${found}`;
    return { code: "RECEIPT_WRONG", message };
  }
  // Whatever it gives this time: what is left out must not depend on who computed it.
  if (leftOut.includes(step)) return "skip";
  const isLossFinite = Number.isFinite(tail.loss);
  if (isLossFinite && tail.overflowed === 0) return "update";
  const canRescale = precision === "float16" && lossScale.scale > lowestLossScale;
  if (isLossFinite && canRescale) return "rescale";
  if (onNotFinite === "skip" && skippedInRow + 1 < mostSkippedInRow) return "skip";
  const found = notFinite === null ? "" : ` (${notFinite})`;
  if (onNotFinite === "restore" && leftOut.length < maxLeftOut) {
    const what = isLossFinite ? "the gradient is not finite" : `the loss is ${tail.loss}`;
    return { goBack: `step ${step + 1}: ${what}${found}` };
  }
  const inRow = {
    stop: "",
    skip: `, in ${mostSkippedInRow} steps one after another`,
    restore: `, after ${maxLeftOut} other steps for which the run went back`,
  }[onNotFinite];
  if (!isLossFinite) {
    const advice = "lower the learning rate, or look for bad values in the data; checkpoints are from before it";
    return {
      code: "LOSS_NOT_FINITE",
      message: `step ${step + 1}: the loss is ${tail.loss}${found}${inRow}: ${advice}`,
    };
  }
  const atScale = precision === "float16" ? ", at the smallest loss scale" : "";
  const other = precision === "float16" ? "train in bfloat16 or float32" : "look for bad values in the data";
  return {
    code: "GRADIENT_NOT_FINITE",
    message: `step ${step + 1}: the gradient is not finite${atScale}${found}${inRow}: lower the learning rate, or ${other}; checkpoints are from before it`,
  };
}
