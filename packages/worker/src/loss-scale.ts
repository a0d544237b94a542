/**
 * Dynamic loss scaling for float16 (Micikevicius et al., ICLR 2018): small gradients would become zero in half precision, so the loss is multiplied before it is
 * differentiated, and the update divides. A power of two moves no bits where nothing overflows.
 *
 * The losses are sums over a seat's samples, not means, so the scale starts low: on SimpleCNN and ResNet-20 gradients overflow at 2^15 from the first step, and
 * underflow has no effect from 2^6 on.
 */
import type { RunConfig, RunProgress } from "@ringmaster/protocol";

type LossScale = RunProgress["lossScale"];

const first = 2 ** 10;
const highest = 2 ** 15;
/** An overflow at this scale is a fault of the model or its data. */
export const lowestLossScale = 1;
/** So many steps without an overflow double it. */
const patience = 2000;

export const initialLossScale = (precision: RunConfig["precision"]): LossScale => ({
  scale: precision === "float16" ? first : 1,
  goodSteps: 0,
});

export function afterOverflow({ scale }: LossScale): LossScale {
  return { scale: Math.max(lowestLossScale, scale / 2), goodSteps: 0 };
}

export function afterGoodStep({ scale, goodSteps }: LossScale, precision: RunConfig["precision"]): LossScale {
  if (precision !== "float16") return { scale, goodSteps };
  if (goodSteps + 1 < patience) return { scale, goodSteps: goodSteps + 1 };
  return { scale: Math.min(highest, scale * 2), goodSteps: 0 };
}
