export { type EvaluateOptions, evaluateState } from "./evaluate-state.ts";
export { runWorker, type WorkerEnd, type WorkerLog, type WorkerOptions } from "./run-worker.ts";
