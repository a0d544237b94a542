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
import type { StepReport } from "./step-ledger.ts";

export type Connection = number;

export type CoordinatorInput =
  | { readonly type: "message"; readonly connection: Connection; readonly message: WorkerMessage }
  /** A peer sent what no worker sends. */
  | { readonly type: "malformed"; readonly connection: Connection; readonly code: string; readonly message: string }
  | { readonly type: "closed"; readonly connection: Connection; readonly reason: string }
  | { readonly type: "saved"; readonly step: number; readonly folder: string }
  | { readonly type: "saveFailed"; readonly step: number; readonly message: string }
  /** Ctrl-C, or whatever asks the run to stop after the step under way. */
  | { readonly type: "stop"; readonly reason: string }
  | { readonly type: "tick" };

export type RunEvent =
  | { readonly type: "joined"; readonly hello: WorkerHello; readonly joined: number; readonly ranks: number }
  | { readonly type: "refused"; readonly peer: string; readonly code: string; readonly message: string }
  | { readonly type: "left"; readonly peer: string; readonly message: string }
  | {
      readonly type: "seated";
      readonly config: RunConfig;
      readonly seating: readonly number[];
      readonly members: readonly WorkerHello[];
    }
  | {
      readonly type: "began";
      readonly firstStep: number;
      readonly stepsPerEpoch: number;
      readonly totalSteps: number;
      readonly numericsNote: string | null;
      /** See `WorkerReady.eagerBecause`. */
      readonly eagerBecause: string | null;
    }
  | ({ readonly type: "committed" } & StepReport)
  | { readonly type: "evaluated"; readonly step: number; readonly evaluation: WorkerEvaluated["evaluation"] }
  | { readonly type: "saved"; readonly step: number; readonly folder: string }
  | { readonly type: "stopping"; readonly reason: string };

export type CoordinatorEffect =
  | { readonly type: "send"; readonly connection: Connection; readonly message: CoordinatorMessage }
  /** Stream the state that the run resumes from. */
  | { readonly type: "sendState"; readonly connection: Connection; readonly generation: number }
  | { readonly type: "close"; readonly connection: Connection; readonly reason: string }
  /** The state that was announced on this connection follows; write it as a checkpoint. */
  | {
      readonly type: "receiveState";
      readonly connection: Connection;
      readonly totalBytes: number;
      readonly checkpoint: CheckpointFacts;
    }
  | { readonly type: "event"; readonly event: RunEvent }
  | { readonly type: "end"; readonly exitCode: number; readonly code: string; readonly message: string };

/** What a checkpoint holds besides bytes. */
export interface CheckpointFacts {
  readonly step: number;
  readonly progress: RunProgress;
  readonly layoutHash: string;
  readonly stateHash: string;
  readonly tensors: WorkerReady["tensors"];
  readonly config: RunConfig;
}

export interface CoordinatorOptions {
  readonly ranks: number;
  readonly configHash: string;
  readonly datasetHash: string;
  /** The run's config, once it is known with how many compute threads the run starts. */
  readonly configFor: (threads: number) => RunConfig;
  /** What the run resumes from. */
  readonly resume: {
    readonly step: number;
    readonly progress: RunProgress;
    readonly totalBytes: number;
    readonly layoutHash: string;
    readonly tensors: WorkerReady["tensors"];
  } | null;
  /** A worker that says nothing for so long is gone. Default 10,000. */
  readonly silenceMs?: Millis;
}
