/** What a simulated rank knows of its ring, however that is simulated. */
import type { Millis } from "@ringmaster/protocol";
import type { Reduced, SimulatedCompute } from "./compute.ts";
import type { Process } from "./process.ts";

export interface RingPort {
  open(round: number, buckets: readonly number[]): void;
  ready(round: number, bucket: number, seat: number): void;
  /** When a seat will be ready with each bucket of the open round, if nothing happens to this rank. */
  expected(seat: number, bucketsMs: readonly Millis[]): void;
  /** Leaves in order. */
  close(): void;
  /** Leaves at once. */
  cut(): void;
}

export interface RankHandlers {
  readonly node: { readonly process: Process; readonly compute: Pick<SimulatedCompute, "buffer"> };
  /** The ring stands. */
  readonly opened: (ring: RingPort) => void;
  readonly held: (round: number, reduced: Reduced) => void;
  readonly lost: (peer: number | null, message: string) => void;
}
