export { runWorker, type WorkerEnd, type WorkerLog, type WorkerOptions } from "./run-worker.ts";
export { hashState } from "./state-transfer.ts";
