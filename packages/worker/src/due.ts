/** What is due after a step, a pure function of the config: every rank decides it alike, with no message. */
import type { RunConfig } from "@ringmaster/protocol";

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
