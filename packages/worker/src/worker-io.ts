/** What a rank's state machine is told, and what it has done. */
import type {
  CoordinatorFetch,
  CoordinatorLoad,
  CoordinatorMessage,
  CoordinatorProceed,
  PlanEffect,
  RunConfig,
  RunProgress,
  WorkerEvaluated,
  WorkerHeld,
  WorkerHello,
  WorkerMessage,
  WorkerReady,
} from "@ringmaster/protocol";
import type { Tail } from "@ringmaster/training";
import type { HistoryMessage } from "./outbox.ts";

/** What a worker says of itself in every hello. */
export type WorkerIdentity = Omit<WorkerHello, "type" | "protocol" | "workerId" | "standing">;

export type Split = WorkerEvaluated["evaluation"]["split"];

export type WorkerInput =
  /** A connection to a coordinator is up, or the connection that is up is to be used under another id (after `drop`). The id is new at the start and after a drop, else the same. */
  | { readonly type: "connected"; readonly workerId: string }
  | { readonly type: "disconnected"; readonly message: string }
  | { readonly type: "coordinator"; readonly message: CoordinatorMessage }
  /** Compute threads are ready. */
  | {
      readonly type: "prepared";
      readonly stepsPerEpoch: number;
      readonly ready: Omit<WorkerReady, "type" | "stepsPerEpoch" | "totalSteps">;
    }
  /** After `stop`: the ring is cut, and nothing touches the memory any more. */
  | { readonly type: "quiet"; readonly generation: number }
  /** A peer's state lies in memory. */
  | {
      readonly type: "copied";
      readonly generation: number;
      readonly step: number;
      readonly stateId: string;
      readonly progress: RunProgress;
      readonly effect: PlanEffect | null;
      /** What was said of its steps and may not be on disk yet. */
      readonly history: readonly HistoryMessage[];
    }
  /** None of the peers gave it; memory is as it was. `peer`: the position of the one concerned in the generation's list. */
  | {
      readonly type: "copyFailed";
      readonly generation: number;
      readonly peer: number | null;
      readonly message: string;
    }
  /** The seed's or the checkpoint's state lies in memory. */
  | { readonly type: "loaded"; readonly generation: number; readonly step: number; readonly stateId: string }
  /** The generation's ring stands: the next round is its first. */
  | { readonly type: "ringOpen"; readonly generation: number }
  /** `peer`: the rank of the neighbour concerned, where one is. */
  | {
      readonly type: "linkLost";
      readonly generation: number;
      readonly peer: number | null;
      readonly message: string;
    }
  /** The reduced tail of the step under way is here. */
  | {
      readonly type: "stepHeld";
      readonly generation: number;
      readonly tail: Tail;
      readonly expected: Pick<Tail, "samples" | "receipt">;
      readonly timing: WorkerHeld["timing"];
      readonly memoryBytes: number;
      /** Which tensors are not finite, where the tail says that something is not; else null. */
      readonly notFinite: string | null;
    }
  | {
      readonly type: "evaluationHeld";
      readonly generation: number;
      readonly evaluation: WorkerEvaluated["evaluation"];
    }
  /** The optimizer has run. */
  | { readonly type: "updated" }
  | { readonly type: "hashed"; readonly generation: number; readonly hash: string }
  | {
      readonly type: "failed";
      readonly concerns: "run" | "worker";
      readonly code: string;
      readonly message: string;
    }
  /** It is asked to leave. */
  | { readonly type: "terminate"; readonly reason: string }
  /** Whoever watches over this process is gone. */
  | { readonly type: "orphaned"; readonly reason: string }
  /** It was without a coordinator for as long as it may be. */
  | { readonly type: "patienceOver"; readonly message: string };

export interface OptimizerUpdate {
  readonly optimizerStep: number;
  readonly samples: number;
  /** What the gradients' losses were multiplied by. */
  readonly lossScale: number;
}

export type WorkerEvent =
  | "seated"
  | "stopped"
  | "copied"
  | "loaded"
  | "link-lost"
  | "dropped"
  | "disconnected"
  | "reconnected"
  | "leaving"
  | "outbox-full";

export type WorkerEffect =
  | { readonly type: "send"; readonly message: WorkerMessage }
  /** Answered by `prepared`. */
  | { readonly type: "prepare"; readonly config: RunConfig }
  /** Cut or give up the ring, copies, loads and the offer, and let the compute threads come to rest; answered by `quiet`. */
  | { readonly type: "stop"; readonly generation: number }
  /** Copy the state from one of these; answered by `copied` or `copyFailed`. `position` is this rank's in the generation's list. */
  | {
      readonly type: "copy";
      readonly generation: number;
      readonly step: number;
      readonly stateId: string;
      readonly from: CoordinatorFetch["from"];
      readonly position: number;
    }
  /** Answered by `loaded`. A checkpoint's bytes have followed its message; a load before this one is given up. */
  | {
      readonly type: "load";
      readonly generation: number;
      readonly step: number;
      readonly stateId: string;
      readonly source: CoordinatorLoad["source"];
    }
  /** Peers may copy what lies in memory, until the next `stop`, `load`, `openRing` or `drop`. */
  | {
      readonly type: "offer";
      readonly generation: number;
      readonly step: number;
      readonly stateId: string;
      /** As it was when the step was held. */
      readonly progress: RunProgress;
      readonly effect: PlanEffect | null;
      readonly history: readonly HistoryMessage[];
    }
  /** Snapshots of later steps are no part of the history any more. */
  | { readonly type: "rewind"; readonly step: number }
  /** Sit on these seats and link with the neighbours, if there are any; answered by `ringOpen` or `linkLost`. */
  | {
      readonly type: "openRing";
      readonly generation: number;
      readonly rank: number;
      /** [seats]: the rank that sits on each. */
      readonly seating: readonly number[];
      readonly peers: CoordinatorProceed["peers"];
      /** This rank's. */
      readonly seats: readonly number[];
    }
  /** `update` first, if there is one; then compute step `step` in the next round, from the state that `tag` names. Answered by `updated`, if there is an update, and `stepHeld`. */
  | {
      readonly type: "step";
      readonly step: number;
      readonly tag: string;
      /** The word of the plan that its seats are given; 0: none. */
      readonly plan: number;
      readonly lossScale: number;
      readonly update: OptimizerUpdate | null;
    }
  /** Answered by `updated`. */
  | { readonly type: "update"; readonly update: OptimizerUpdate }
  /** Answered by `evaluationHeld`. */
  | { readonly type: "evaluate"; readonly split: Split }
  /** Answered by `hashed`. */
  | { readonly type: "hash"; readonly generation: number; readonly progress: RunProgress }
  /** Copy the state, at once, into the queue of snapshots. */
  | {
      readonly type: "snapshot";
      readonly progress: RunProgress;
      readonly stateId: string;
      readonly stateHash: string;
    }
  /** This rank is the writer: send the coordinator the snapshots that it has not been sent over this connection, oldest first, as of this generation. */
  | { readonly type: "upload"; readonly generation: number }
  /** The checkpoint of this step is on disk: snapshots up to it may go. */
  | { readonly type: "saved"; readonly step: number }
  /** What this rank has counts no longer: cut the ring, let all snapshots go, and connect or go on under a new id (`connected`). */
  | { readonly type: "drop" }
  /** End this connection, and look for another coordinator after a while. */
  | { readonly type: "hangUp"; readonly reason: string }
  | {
      readonly type: "log";
      readonly event: WorkerEvent;
      readonly generation: number;
      readonly step: number;
      readonly message: string;
    }
  | { readonly type: "end"; readonly exitCode: number; readonly code: string; readonly message: string };
