/** What is due after a step, a pure function of config, progress and plans: every rank decides it alike, with no message. */
import type { PlanEffect, RunConfig, RunProgress } from "@ringmaster/protocol";

export interface RunLength {
  readonly stepsPerEpoch: number;
  /** Steps of the whole run. */
  readonly totalSteps: number;
}

export function runLength(config: RunConfig, stepsPerEpoch: number): RunLength {
  const planned = config.epochs * stepsPerEpoch;
  return { stepsPerEpoch, totalSteps: Math.min(planned, config.maxSteps ?? planned) };
}

export interface Due {
  readonly hash: boolean;
  readonly validation: boolean;
  readonly checkpoint: boolean;
  /** The run's last step by plan: the test set is evaluated. */
  readonly end: boolean;
}

/** `done`: steps done, from 1. */
export function dueAfter(done: number, config: RunConfig, { stepsPerEpoch, totalSteps }: RunLength): Due {
  const epochEnds = done % stepsPerEpoch === 0;
  const every = config.checkpoint.everySteps;
  const end = done >= totalSteps;
  const checkpoint = end || epochEnds || (every !== null && done % every === 0);
  return {
    hash: checkpoint || done % config.hashEverySteps === 0,
    validation: epochEnds && config.validation.count > 0,
    checkpoint,
    end,
  };
}

export type Task = "validation" | "hash" | "checkpoint" | "test";

interface Boundary {
  /** In the order in which they are worked. */
  readonly tasks: readonly Task[];
  /** No step follows: the run ends here, or a planned stop took effect. */
  readonly isLast: boolean;
}

/**
 * What is to be done between the step that is held and the next. It may be asked again for a state whose boundary was worked in part, as after a regrouping,
 * from the progress as it was when the step was held. A checkpoint's progress has the validation of its own step: then all that was due was done before, but
 * for the run's end.
 */
export function boundaryAfter(
  progress: RunProgress,
  effect: PlanEffect | null,
  config: RunConfig,
  length: RunLength,
): Boundary {
  const { step, evaluations } = progress;
  if (step === 0) return { tasks: [], isLast: false };
  const due = dueAfter(step, config, length);
  const planned = effect?.after === step ? effect.change : null;
  const isLast = due.end || planned === "stop";
  if (evaluations.some((each) => each.split === "validation" && each.step === step))
    return { tasks: due.end ? ["test"] : [], isLast };
  const tasks: Task[] = [];
  if (due.validation) tasks.push("validation");
  // A checkpoint is recorded under the hash of what it holds, so the hash comes after what changes the state.
  if (due.hash || planned !== null) tasks.push("hash");
  if (due.checkpoint || planned !== null) tasks.push("checkpoint");
  // A run that was stopped goes on another day; its test set is evaluated when it ends.
  if (due.end) tasks.push("test");
  return { tasks, isLast };
}
