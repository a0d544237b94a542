/** An evaluation outside a run: the same blocks, seats and fold as inside one, so the same state gives the same numbers. */
import type { WorkerEvaluated } from "@ringmaster/protocol";
import type { EvaluationSplit, StateTensors } from "@ringmaster/training";
import { type ComputeOptions, type ComputeSide, startComputeSide } from "./compute-side.ts";
import { readEvaluation } from "./reduced-evaluation.ts";
import { WorkerError } from "./worker-error.ts";

export type EvaluateOptions = Omit<ComputeOptions, "events" | "restore"> & {
  /** Fills the state to evaluate in. */
  readonly restore: (tensors: StateTensors) => void;
  readonly split: EvaluationSplit;
};

/** Evaluates a state on a split of its dataset, on all seats in this process. */
export async function evaluateState({ split, ...options }: EvaluateOptions): Promise<WorkerEvaluated["evaluation"]> {
  let side: ComputeSide | undefined;
  try {
    const parity = 0;
    const seats = Array.from({ length: options.config.seats }, (_, seat) => seat);
    let folded: () => void = () => {};
    let failed: (error: WorkerError) => void = () => {};
    const outcome = new Promise<void>((resolve, reject) => {
      folded = resolve;
      failed = reject;
    });
    outcome.catch(() => {});
    const events = {
      bucketReady() {},
      seatReady() {},
      updated() {},
      folded: () => folded(),
      failed: (error: WorkerError) => failed(error),
    };
    side = await startComputeSide({ ...options, events });
    if (side.seatCapacity < seats.length)
      throw new WorkerError(
        "OUT_OF_MEMORY",
        `an evaluation needs room for the run's ${seats.length} seats, and ${side.seatCapacity} fit the 4096 MiB of a process`,
      );
    side.takeSeats(seats);
    side.evaluate({ split, foldInto: parity });
    await outcome;
    return readEvaluation(side, split, parity);
  } finally {
    await side?.close();
  }
}
