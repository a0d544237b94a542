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
  /** The rank's seats, all of them; thread t works every seat whose index is t modulo the threads. */
  readonly seats: readonly number[];
  readonly barrier: SharedArrayBuffer;
}

export interface Shaped {
  readonly name: string;
  readonly shape: readonly number[];
}

export type ComputeCommand =
  | {
      readonly type: "useMemory";
      readonly memory: WebAssembly.Memory;
      readonly map: MemoryMap;
      readonly initialise: boolean;
    }
  | {
      readonly type: "step";
      /** The step that is held: the optimizer runs on its reduced gradients. */
      readonly update: {
        readonly optimizerStep: number;
        readonly samples: number;
        readonly lossScale: number;
        readonly parity: 0 | 1;
      } | null;
      /** The next step; `plan`: whether this rank has the pending plan. */
      readonly compute: {
        readonly step: number;
        readonly plan: boolean;
        readonly lossScale: number;
        readonly foldInto: 0 | 1 | null;
      } | null;
    }
  | { readonly type: "evaluate"; readonly split: EvaluationSplit; readonly foldInto: 0 | 1 | null };

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
  | { readonly type: "seatReady"; readonly seat: number; readonly dataMs: number; readonly computeMs: number }
  /** World of one: this thread has folded its part. */
  | { readonly type: "folded" }
  | { readonly type: "failed"; readonly code: string; readonly message: string };
