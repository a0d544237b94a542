/** What travels over the connections of a simulated world. */
import type { CoordinatorMessage, PeerState, WorkerMessage } from "@ringmaster/protocol";
import type { HistoryMessage } from "@ringmaster/worker";

/** The bytes of a state, all at once. */
export interface StateBytes {
  readonly type: "state";
  readonly generation: number;
  readonly step: number;
  /** What stands for them. */
  readonly state: number;
}

export type ControlTraffic = WorkerMessage | CoordinatorMessage | StateBytes;

export interface OfferedState {
  readonly type: "offered";
  readonly peer: PeerState;
  readonly history: readonly HistoryMessage[];
  readonly state: number;
}

/** What a worker's listener is asked. */
export type PeerRequest =
  | { readonly kind: "ring"; readonly generation: number; readonly from: number; readonly to: number }
  | {
      readonly kind: "state";
      readonly generation: number;
      readonly from: number;
      readonly to: number;
      readonly step: number;
    };

export const coordinatorAddress = "coordinator";
/** About what a control message takes on the wire. */
export const controlBytes = 200;
