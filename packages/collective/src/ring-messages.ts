/** What goes into the ring's state machine and what comes out of it. */

/** A segment of a chunk of a bucket, in a round. */
export interface Place {
  readonly round: number;
  readonly bucket: number;
  readonly chunk: number;
  readonly segment: number;
}

/** A `partial` is a sum over the fold order's first seats; a `complete` over all of them. */
export type SumKind = "partial" | "complete";

export type RingInput =
  /** This rank enters the round, which reduces these buckets. Rounds are opened in order, each once the one before is held. */
  | { readonly type: "open"; readonly round: number; readonly buckets: readonly number[] }
  /** The values of this rank's seat are in its buffer, for the whole bucket, and stay there until the round is held. */
  | { readonly type: "ready"; readonly round: number; readonly bucket: number; readonly seat: number }
  /** A segment from the previous rank. Its payload lies in its place when the effects of this input are carried out. */
  | ({ readonly type: "received"; readonly kind: SumKind } & Place)
  /** A `sum` effect is done. */
  | ({ readonly type: "summed"; readonly visit: number } & Place);

export type RingEffect = SumEffect | SendEffect | HeldEffect | RingFault;

/**
 * Fold the listed local seats into the place, in that order: starting from the first seat's values (`onto` false), or onto the partial sum
 * that lies there (`onto` true). `start` and `end` are floats from the beginning of the flat buffers.
 */
export interface SumEffect extends Place {
  readonly type: "sum";
  readonly visit: number;
  readonly seats: readonly number[];
  readonly onto: boolean;
  readonly start: number;
  readonly end: number;
}

/** Send the place's floats to the next rank. */
export interface SendEffect extends Place {
  readonly type: "send";
  readonly kind: SumKind;
  readonly start: number;
  readonly end: number;
}

/** Every segment of the round is complete here. */
export interface HeldEffect {
  readonly type: "held";
  readonly round: number;
}

/** Nothing more will come out. `BAD_PEER`: the previous rank sent the impossible; `MISUSE`: this rank's own caller asked for it. */
export interface RingFault {
  readonly type: "fault";
  readonly code: "BAD_PEER" | "MISUSE";
  readonly message: string;
}
