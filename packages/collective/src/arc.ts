/**
 * One rank's part in the schedule: which visits it makes to which chunk, found by arithmetic on its arc of seats instead of by walking all
 * seats of all chunks.
 *
 * Count a chunk's fold order from 0. The arc either lies in it in one piece (one visit) or is cut in two because the chunk's first and
 * last fold seats both lie in the arc; then the tail of the arc is the chunk's first visit and its head the last one. Chunk c cuts the arc
 * exactly where c is any of its seats but the last.
 */
import { CollectiveError } from "./collective-error.ts";
import { foldOrder, nextRank, type Seating, worldSize } from "./schedule.ts";

export interface Arc {
  readonly rank: number;
  readonly world: number;
  /** The rank's seats in ring order. */
  readonly seats: readonly number[];
  /** The chunks that this rank visits once, those earliest in their fold first. */
  readonly wholeChunks: readonly number[];
  /** Where a seat sits in the arc, or -1. */
  positionOf(seat: number): number;
  /** Whether this rank makes the first and the last visit to the chunk. */
  isCut(chunk: number): boolean;
  /** The number of this rank's only or last visit to the chunk. */
  lastVisit(chunk: number): number;
  /** Whether this rank completes the chunk. */
  completes(chunk: number): boolean;
  /** Whether the chunk, complete here, goes on to the next rank. */
  passesComplete(chunk: number): boolean;
  /** The local seats of a visit, in fold order. */
  visitSeats(chunk: number, visit: number): readonly number[];
}

/** `seating` is a checked one. @throws CollectiveError `BAD_SEATING` where the rank has no seat. */
export function arcOf(rank: number, seating: Seating): Arc {
  const total = seating.length;
  const world = worldSize(seating);
  const next = nextRank(rank, world);
  const around = (seat: number) => ((seat % total) + total) % total;
  const start = world === 1 ? 0 : seating.findIndex((r, seat) => r === rank && seating[around(seat - 1)] !== rank);
  const length = seating.filter((r) => r === rank).length;
  if (start < 0 || length === 0)
    throw new CollectiveError("BAD_SEATING", `rank ${rank} has no seat in a world of ${world} ranks`);
  const seats = Array.from({ length }, (_, i) => around(start + i));
  const positionOf = (seat: number) => (seating[seat] === rank ? around(seat - start) : -1);
  const isCut = (chunk: number) => world > 1 && around(chunk - start) < length - 1;

  return {
    rank,
    world,
    seats,
    // chunk start - 1 begins with this arc, chunk start - 2 one seat earlier, ...
    wholeChunks: Array.from({ length: world === 1 ? total : total - length + 1 }, (_, i) => around(start - 1 - i)),
    positionOf,
    isCut,
    lastVisit(chunk) {
      if (isCut(chunk)) return world;
      const opener = seating[around(chunk + 1)] ?? 0; // the rank of visit 0
      return (rank - opener + world) % world;
    },
    completes: (chunk) => seating[chunk] === rank,
    passesComplete: (chunk) => world > 1 && seating[chunk] !== next,
    visitSeats(chunk, visit) {
      if (world === 1) return foldOrder(chunk, total);
      if (!isCut(chunk)) return seats;
      const head = around(chunk - start) + 1;
      return visit === 0 ? seats.slice(head) : seats.slice(0, head);
    },
  };
}
