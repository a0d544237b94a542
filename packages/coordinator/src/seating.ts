/** Who sits where. Any seating gives the same bits; this one gives each rank seats by its compute threads. */
import { CoordinatorError } from "./coordinator-error.ts";

/** Fewer samples than this a seat cost more than a seat is worth. */
const leastSamplesPerSeat = 8;

/** S where the config leaves it open: a seat a compute thread, with 8 samples or more. */
export function defaultSeats(batchSize: number, threads: number): number {
  return Math.max(1, Math.min(threads, Math.floor(batchSize / leastSamplesPerSeat), 1024));
}

/**
 * Arcs of neighbouring seats, one a rank, never empty. Each seat goes to the rank that has least to do with it, seats a thread: a step takes as long as
 * its busiest rank, and no seating makes that one less busy.
 * @returns [seats]: the rank of each seat.
 * @throws CoordinatorError MORE_RANKS_THAN_SEATS
 */
export function seatRanks(seats: number, threads: readonly number[]): number[] {
  const ranks = threads.length;
  if (ranks > seats) {
    const advice = `use --seats ${ranks} or more (for a new run), or at most ${seats} ranks`;
    throw new CoordinatorError("MORE_RANKS_THAN_SEATS", `${ranks} ranks cannot sit on ${seats} seats: ${advice}`);
  }
  const own = threads.map(() => 1);
  for (let seated = ranks; seated < seats; seated++) {
    const loads = own.map((count, rank) => (count + 1) / (threads[rank] ?? 1));
    const idlest = loads.indexOf(Math.min(...loads));
    own[idlest] = (own[idlest] ?? 0) + 1;
  }
  return own.flatMap((count, rank) => new Array<number>(count).fill(rank));
}
