export { lineTiming } from "./coordinator-line.ts";
export { type EvaluateOptions, evaluateState } from "./evaluate-state.ts";
export type { HistoryMessage } from "./outbox.ts";
export { runWorker, type WorkerEnd, type WorkerLog, type WorkerOptions } from "./run-worker.ts";
export { SeatSlots } from "./seat-slots.ts";
export { type Snapshot, SnapshotQueue } from "./snapshot-queue.ts";
export {
  newStanding,
  nextStanding,
  type Standing,
  type StandingInput,
  type StandingOutcome,
  type Verdict,
} from "./standing.ts";
export { terminatedExitCode, WorkerCore } from "./worker-core.ts";
export type { OptimizerUpdate, WorkerEffect, WorkerIdentity, WorkerInput } from "./worker-io.ts";
