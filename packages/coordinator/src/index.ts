export { CoordinatorError } from "./coordinator-error.ts";
export type { RunEvent } from "./coordinator-io.ts";
export { type CoordinatorEnd, type RunCoordinatorOptions, runCoordinator } from "./run-coordinator.ts";
export { defaultSeats } from "./seating.ts";
export type { StepReport } from "./step-ledger.ts";
