/** What goes into the coordinator's state machine and what comes out of it. */
import type {
  CoordinatorMessage,
  Millis,
  RunConfig,
  RunProgress,
  WorkerEvaluated,
  WorkerHello,
  WorkerMessage,
  WorkerReady,
} from "@ringmaster/protocol";
import type { SaveFailure } from "./checkpoint-watch.ts";
import type { LivenessLimits } from "./liveness.ts";
import type { MembershipRecord } from "./membership.ts";
import type { Balance } from "./seating.ts";
import type { StepReport } from "./step-ledger.ts";

export type Connection = number;

export type CoordinatorInput =
  | { readonly type: "message"; readonly connection: Connection; readonly message: WorkerMessage }
  /** A peer sent what no worker sends. */
  | { readonly type: "malformed"; readonly connection: Connection; readonly code: string; readonly message: string }
  /** `isDead`: the process at the other end is known to be gone; it does not come back. */
  | { readonly type: "closed"; readonly connection: Connection; readonly reason: string; readonly isDead: boolean }
  /** The record that was to be written is flushed. */
  | { readonly type: "recorded" }
  /** The state that was announced on this connection is here, whole, and the shell keeps it. */
  | { readonly type: "stateArrived"; readonly step: number; readonly stateId: string }
  /** The checkpoint is durable, and so is its record. */
  | { readonly type: "saved"; readonly checkpoint: SavedCheckpointFacts }
  | { readonly type: "saveFailed"; readonly step: number; readonly failure: SaveFailure }
  /** The checkpoint of this step could not be loaded, and why; `next`, which is recorded, is the newest good one before it, null the seed. */
  | { readonly type: "sourceLost"; readonly step: number; readonly message: string; readonly next: SourceFacts | null }
  /** What was shown of the steps up to this one is on disk. */
  | { readonly type: "kept"; readonly step: number }
  /** Ctrl-C, or whatever asks the run to stop after the step under way; the second time without waiting for the last checkpoint. */
  | { readonly type: "stop"; readonly reason: string }
  /** Another coordinator has taken the run over. */
  | { readonly type: "replaced"; readonly message: string }
  /** What the run cannot go on without could not be had, such as memory. */
  | { readonly type: "failed"; readonly code: string; readonly message: string }
  | { readonly type: "tick" };

export type RunEvent =
  /** `joined`: how many have, so far; `ranks`: with how many the run begins, null once it has begun. */
  | { readonly type: "joined"; readonly hello: WorkerHello; readonly joined: number; readonly ranks: number | null }
  | { readonly type: "refused"; readonly peer: string; readonly code: string; readonly message: string }
  /** Before the run began. */
  | { readonly type: "left"; readonly peer: string; readonly message: string }
  /** The run's config is settled. */
  | { readonly type: "settled"; readonly config: RunConfig; readonly members: readonly WorkerHello[] }
  | {
      readonly type: "began";
      readonly firstStep: number;
      readonly stepsPerEpoch: number;
      readonly totalSteps: number;
      readonly numericsNote: string | null;
      /** See `WorkerReady.eagerBecause`. */
      readonly eagerBecause: string | null;
    }
  /** A member is judged lost. */
  | { readonly type: "lost"; readonly workerId: string; readonly peer: string; readonly because: string }
  | { readonly type: "leaving"; readonly peer: string; readonly because: string }
  /** The next generation is open. */
  | { readonly type: "regrouping"; readonly generation: number; readonly members: number; readonly because: string }
  | {
      readonly type: "proceeding";
      readonly generation: number;
      readonly step: number;
      readonly seating: readonly number[];
      readonly members: readonly WorkerHello[];
    }
  | ({ readonly type: "committed" } & StepReport)
  | { readonly type: "evaluated"; readonly step: number; readonly evaluation: WorkerEvaluated["evaluation"] }
  | { readonly type: "saved"; readonly step: number; readonly folder: string; readonly pauseMs: number }
  /** The world went back to this step: what was shown of later ones is no part of the run. */
  | { readonly type: "restored"; readonly step: number; readonly because: string }
  | { readonly type: "note"; readonly line: string }
  | { readonly type: "stopping"; readonly reason: string };

export type CoordinatorEffect =
  | { readonly type: "send"; readonly connection: Connection; readonly message: CoordinatorMessage }
  /** Stream the checkpoint of this step. */
  | {
      readonly type: "sendState";
      readonly connection: Connection;
      readonly generation: number;
      readonly step: number;
    }
  | { readonly type: "close"; readonly connection: Connection; readonly reason: string }
  /** Write it to the journal; `recorded` answers. */
  | { readonly type: "record"; readonly record: MembershipRecord; readonly usedGeneration: number }
  /** The state that was announced on this connection follows; `facts` null: nobody needs it. */
  | {
      readonly type: "receiveState";
      readonly connection: Connection;
      readonly totalBytes: number;
      readonly facts: CheckpointFacts | null;
    }
  /** Write the state of this step as a checkpoint, record it; `saved` or `saveFailed` answers. */
  | { readonly type: "writeCheckpoint"; readonly step: number }
  | { readonly type: "forgetState"; readonly step: number }
  | { readonly type: "event"; readonly event: RunEvent }
  | { readonly type: "end"; readonly exitCode: number; readonly code: string; readonly message: string };

/** What a checkpoint holds besides bytes. */
export interface CheckpointFacts {
  readonly step: number;
  readonly stateId: string;
  readonly progress: RunProgress;
  readonly layoutHash: string;
  readonly stateHash: string;
  readonly tensors: WorkerReady["tensors"];
  readonly config: RunConfig;
  readonly pauseMs: number;
}

/** A checkpoint that members without a state start from. */
export interface SourceFacts {
  readonly step: number;
  readonly stateId: string;
  readonly progress: RunProgress;
  readonly totalBytes: number;
}

export interface SavedCheckpointFacts extends SourceFacts {
  readonly folder: string;
  readonly pauseMs: number;
}

/** A checkpoint that the run goes on from. */
export interface ResumePoint extends SourceFacts {
  readonly layoutHash: string;
  readonly tensors: WorkerReady["tensors"];
}

export interface CoordinatorOptions {
  /** Workers with which the run begins. */
  readonly ranks: number;
  readonly configHash: string;
  readonly datasetHash: string;
  /** The run's config, once it is known with how many compute threads the run starts. */
  readonly configFor: (threads: number) => RunConfig;
  /** The newest checkpoint, of a run that goes on. */
  readonly resume: ResumePoint | null;
  /** Of the journal; `usedPlans`: plans of higher numbers are this coordinator's. */
  readonly epoch: number;
  readonly usedGeneration: number;
  readonly usedPlans: number;
  /** What another coordinator of this run left when it died, and has shown; null: the run begins, or is resumed. */
  readonly recovered: {
    readonly record: MembershipRecord | null;
    readonly committed: number;
    /** Of the newest checkpoint that it recorded; 0: none. */
    readonly recordedStep: number;
    readonly evaluated: readonly { readonly step: number; readonly split: string }[];
  } | null;
  /** How seats are shared out. Default "threads". */
  readonly balance?: Balance;
  readonly limits?: Partial<LivenessLimits>;
  /** The ids of the samples that a seat works in the step after `step`: for the message about samples that kill. */
  readonly samplesOf?: (step: number, seat: number) => readonly number[];
  readonly now: Millis;
}
