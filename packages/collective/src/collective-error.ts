/**
 * What can go wrong among ranks:
 * - `BAD_LAYOUT`, `BAD_SEATING`: arguments that no ring can be built from.
 * - `MISUSE`: this rank's own caller broke the order of a round (opened it early, gave a seat twice).
 * - `BAD_PEER`: the peer sent what no correct rank sends in this place.
 * - `LINK_LOST`: the link to the peer ended, or went silent, while it was still needed.
 * - `LINK_REFUSED`: the peer refused the handshake for good (wrong secret or run).
 * - `LINK_TIMEOUT`: the ring did not close within its time, or a state did not come within its own.
 * - `LISTEN_FAILED`: the port of the ring listener could not be had.
 * - `KERNELS_MISSING`: the package was not built.
 */
export type CollectiveErrorCode =
  | "BAD_LAYOUT"
  | "BAD_SEATING"
  | "MISUSE"
  | "BAD_PEER"
  | "LINK_LOST"
  | "LINK_REFUSED"
  | "LINK_TIMEOUT"
  | "LISTEN_FAILED"
  | "KERNELS_MISSING";

/** The one error class of this package. `peerRank` is set where a particular peer is concerned. */
export class CollectiveError extends Error {
  readonly code: CollectiveErrorCode;
  readonly peerRank: number | undefined;

  constructor(code: CollectiveErrorCode, message: string, options: { peerRank?: number; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "CollectiveError";
    this.code = code;
    this.peerRank = options.peerRank;
  }
}
