import { requireInteger } from "./integer.ts";
import type { Span } from "./sampler.ts";

/**
 * Cuts 0 to count - 1 into consecutive blocks of `blockSize`, the last perhaps shorter. Evaluation is shared out in these, and results are
 * added in their order, so its bits do not depend on who computed which.
 */
export function blocks(count: number, blockSize: number): Span[] {
  requireInteger("the number of examples to evaluate", count, 0);
  requireInteger("the size of an evaluation block", blockSize, 1);
  return Array.from({ length: Math.ceil(count / blockSize) }, (_, i) => ({
    first: i * blockSize,
    end: Math.min(count, (i + 1) * blockSize),
  }));
}
