import type { WorkerEvaluated } from "@ringmaster/protocol";
import type { EvaluationSplit } from "@ringmaster/training";
import type { ComputeSide } from "./compute-side.ts";

/** What an evaluation's round has reduced: [loss sum, samples, confusion matrix]. */
export function readEvaluation(
  { layout, memory, map }: ComputeSide,
  split: EvaluationSplit,
  parity: 0 | 1,
): WorkerEvaluated["evaluation"] {
  const { start, length } = layout.buckets[layout.evaluationBucket] ?? { start: 0, length: 0 };
  const [loss = 0, samples = 0, ...confusion] = new Float32Array(
    memory.buffer,
    map.reduced[parity] + 4 * start,
    length,
  );
  return { split, loss, samples, confusion, classes: layout.classes };
}
