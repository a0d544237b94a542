/** What a rank's main thread and its compute threads say to each other. Tensors lie in shared memory and never travel. */
import type { BackendOptions, NumericsFingerprint } from "@ringmaster/backend";
import type { ImageDataset } from "@ringmaster/data";
import type { RunConfig } from "@ringmaster/protocol";
import type { EvaluationSplit, MemoryMap } from "@ringmaster/training";

/** A compute thread's `workerData`. */
export interface ComputeThreadData {
  readonly configPath: string;
  readonly config: RunConfig;
  /** What this rank computes on: its own choice, whatever the coordinator's config says. */
  readonly computeOn: Required<BackendOptions>;
  /** Its arrays are on SharedArrayBuffers, so a clone shares them. */
  readonly dataset: ImageDataset;
  readonly thread: number;
  readonly threads: number;
  readonly barrier: SharedArrayBuffer;
}

export interface Shaped {
  readonly name: string;
  readonly shape: readonly number[];
}

/** A seat of the rank, as long as the command that it comes with is worked. */
export interface SeatWork {
  readonly seat: number;
  /** Byte offset of its flat buffer. */
  readonly buffer: number;
  /** Its gradients of this very step are whole in its buffer. */
  readonly isKept: boolean;
}

/** The step that is held: the optimizer runs on its reduced gradients. */
export interface Update {
  readonly optimizerStep: number;
  readonly samples: number;
  readonly lossScale: number;
  readonly parity: 0 | 1;
}

export interface NextStep {
  readonly step: number;
  /** The word of the plan that this rank has; 0: none. */
  readonly plan: number;
  readonly lossScale: number;
  /** World of one: the reduction buffer to fold all seats into. */
  readonly foldInto: 0 | 1 | null;
}

/** A command that all threads work, each its part, and end with `done` or `failed`. Thread t works every seat whose place in `seats` is t modulo the threads. */
export type ComputeCommand =
  | {
      readonly type: "step";
      /** The number of this command: reports of its seats name it. */
      readonly command: number;
      readonly seats: readonly SeatWork[];
      readonly update: Update | null;
      readonly compute: NextStep | null;
    }
  | {
      readonly type: "evaluate";
      readonly command: number;
      readonly seats: readonly SeatWork[];
      readonly split: EvaluationSplit;
      readonly foldInto: 0 | 1 | null;
    }
  /** Write the seed's state anew. */
  | { readonly type: "initialise" };

/** The first thing that a thread is told once it has built the model; it answers `ready`. */
export interface UseMemory {
  readonly type: "useMemory";
  readonly memory: WebAssembly.Memory;
  readonly map: MemoryMap;
  readonly initialise: boolean;
}

export type ComputeReport =
  | {
      readonly type: "built";
      readonly parameters: readonly Shaped[];
      readonly statistics: readonly Shaped[];
      readonly fingerprint: NumericsFingerprint;
    }
  | { readonly type: "ready"; readonly probeHash: string | null; readonly eagerBecause: string | null }
  | { readonly type: "updated"; readonly optimizerMs: number }
  /** A step's bucket of a seat, not its last, is in the seat's buffer. */
  | { readonly type: "bucketReady"; readonly seat: number; readonly bucket: number }
  /** All of a round that a seat gives is in its buffer. */
  | {
      readonly type: "seatReady";
      readonly command: number;
      readonly seat: number;
      readonly dataMs: number;
      readonly computeMs: number;
      readonly isLast: boolean;
    }
  /** World of one: this thread has folded its part, the last that it does for a command. */
  | { readonly type: "folded" }
  /** This thread is through with a command and touches no memory until the next; so it is after a report that is the command's last. */
  | { readonly type: "done" }
  /** So it is after a failure. BARRIER_ABORTED: another thread has failed. */
  | { readonly type: "failed"; readonly code: string; readonly message: string };
