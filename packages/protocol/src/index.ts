export {
  type BulkMessage,
  bulkHeaderBytes,
  encodeRingHeader,
  encodeStateHeader,
  isBulk,
  parseBulk,
  type RingHeader,
  type RingMessage,
  type StateHeader,
  type StateMessage,
  writeRingHeader,
  writeStateHeader,
} from "./bulk.ts";
export type { Millis } from "./clock.ts";
export { encodeControl, parseCoordinatorMessage, parsePeerState, parseWorkerMessage } from "./control.ts";
export type {
  CoordinatorAbort,
  CoordinatorFetch,
  CoordinatorFinish,
  CoordinatorHeartbeat,
  CoordinatorKept,
  CoordinatorLoad,
  CoordinatorPlan,
  CoordinatorProceed,
  CoordinatorRegroup,
  CoordinatorSaved,
  CoordinatorStart,
  CoordinatorWelcome,
} from "./coordinator-messages.ts";
export { planWord } from "./coordinator-messages.ts";
export { describeIssues, expecting, quote, shorten } from "./explain.ts";
export {
  maxAboutBytes,
  maxBatchSize,
  maxBucketBytes,
  maxClasses,
  maxControlBytes,
  maxEpochs,
  maxErrorChars,
  maxEvaluations,
  maxLabelChars,
  maxLeftOut,
  maxNameChars,
  maxReasonChars,
  maxSeats,
  maxSegmentBytes,
  maxStateBytes,
  maxStatePartBytes,
  maxThreads,
  maxUint32,
  maxValidationBlock,
  minBucketBytes,
  protocolVersion,
  segmentAlignBytes,
} from "./limits.ts";
export { type Link, linkProof, tokensEqual, verifyLinkProof } from "./link-auth.ts";
export {
  type CoordinatorMessage,
  coordinatorMessageSchema,
  type WorkerMessage,
  workerMessageSchema,
} from "./messages.ts";
export type { PeerState, PlanEffect } from "./peer-messages.ts";
export { ProtocolError, type ProtocolErrorCode } from "./protocol-error.ts";
export { type OptimizerConfig, type RunConfig, runConfigSchema } from "./run-config.ts";
export { type EvaluationRecord, type RunProgress, runProgressSchema } from "./run-progress.ts";
export { nextStateId, seedStateId } from "./state-id.ts";
export type {
  WorkerBye,
  WorkerDone,
  WorkerEvaluated,
  WorkerFailed,
  WorkerHeartbeat,
  WorkerHeld,
  WorkerHello,
  WorkerLeaving,
  WorkerLinkLost,
  WorkerReady,
  WorkerRegrouped,
  WorkerSpoiled,
  WorkerStanding,
  WorkerState,
  WorkerStateHash,
} from "./worker-messages.ts";
