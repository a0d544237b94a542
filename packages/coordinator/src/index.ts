export { CoordinatorCore } from "./coordinator-core.ts";
export { CoordinatorError } from "./coordinator-error.ts";
export type {
  CheckpointFacts,
  Connection,
  CoordinatorEffect,
  CoordinatorInput,
  CoordinatorOptions,
  RunEvent,
} from "./coordinator-io.ts";
export { type Journal, type OpenJournalOptions, openJournal } from "./journal/journal.ts";
export {
  type LoadSource,
  type MembershipEffect,
  type MembershipInput,
  type MembershipRecord,
  type MembershipRules,
  newWorld,
  nextWorld,
  type Outcome,
  type World,
} from "./membership.ts";
export { loadedStateId } from "./resume-point.ts";
export { type CoordinatorEnd, type RunCoordinatorOptions, runCoordinator } from "./run-coordinator.ts";
export { type Balance, defaultSeats } from "./seating.ts";
export { mostPlans, shellTiming } from "./shell-timing.ts";
export type { StepReport } from "./step-ledger.ts";
