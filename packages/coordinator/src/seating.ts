/** Who sits where. Any seating gives the same bits; this one gives each rank seats by its speed. */
import { CoordinatorError } from "./coordinator-error.ts";

/** Fewer samples than this a seat cost more than a seat is worth. */
const leastSamplesPerSeat = 8;

/** By compute threads, or by how fast ranks were seen to work their seats. */
export type Balance = "threads" | "speed";

/** S where the config leaves it open: a seat a compute thread, with 8 samples or more. */
export function defaultSeats(batchSize: number, threads: number): number {
  return Math.max(1, Math.min(threads, Math.floor(batchSize / leastSamplesPerSeat), 1024));
}

export interface Sitter {
  /** Seats that it works in the same time as others work theirs: its compute threads, or its measured speed. Above 0. */
  readonly speed: number;
  /** Seats that fit its memory. */
  readonly capacity: number;
}

/**
 * Arcs of neighbouring seats, one a rank, never empty. Each seat goes to the rank that has least to do with it, seats by speed: a step takes as long as its
 * busiest rank, and no seating makes that one less busy.
 * @returns [seats]: the rank of each seat; null where they cannot hold all seats.
 * @throws CoordinatorError MORE_RANKS_THAN_SEATS
 */
export function seatRanks(seats: number, sitters: readonly Sitter[]): number[] | null {
  const ranks = sitters.length;
  if (ranks > seats) {
    const advice = `use --seats ${ranks} or more (for a new run), or at most ${seats} ranks`;
    throw new CoordinatorError("MORE_RANKS_THAN_SEATS", `${ranks} ranks cannot sit on ${seats} seats: ${advice}`);
  }
  const own = sitters.map(() => 1);
  for (let seated = ranks; seated < seats; seated++) {
    const loads = sitters.map(({ speed, capacity }, rank) => {
      const next = (own[rank] ?? 0) + 1;
      return next > capacity ? Number.POSITIVE_INFINITY : next / speed;
    });
    const least = Math.min(...loads);
    if (least === Number.POSITIVE_INFINITY) return null;
    const idlest = loads.indexOf(least);
    own[idlest] = (own[idlest] ?? 0) + 1;
  }
  return own.flatMap((count, rank) => new Array<number>(count).fill(rank));
}
