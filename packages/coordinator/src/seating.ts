/** Who sits where. Any seating gives the same bits; this one gives each rank seats by its compute threads. */
import { CoordinatorError } from "./coordinator-error.ts";

/** Fewer samples than this a seat cost more than a seat is worth. */
export const leastSamplesPerSeat = 8;

/** S where the config leaves it open: a seat a compute thread, with 8 samples or more. */
export function defaultSeats(batchSize: number, threads: number): number {
  return Math.max(1, Math.min(threads, Math.floor(batchSize / leastSamplesPerSeat), 1024));
}

/**
 * Arcs of neighbouring seats, one a rank, in proportion to `threads`, never empty.
 * @returns [seats]: the rank of each seat.
 * @throws CoordinatorError MORE_RANKS_THAN_SEATS
 */
export function seatRanks(seats: number, threads: readonly number[]): number[] {
  const ranks = threads.length;
  if (ranks > seats) {
    const advice = `use --seats ${ranks} or more (for a new run), or at most ${seats} ranks`;
    throw new CoordinatorError("MORE_RANKS_THAN_SEATS", `${ranks} ranks cannot sit on ${seats} seats: ${advice}`);
  }
  const total = threads.reduce((sum, count) => sum + count, 0);
  const spare = seats - ranks;
  let passed = 0;
  const ends = threads.map((count, rank) => {
    passed += count;
    return rank + 1 + Math.round((spare * passed) / total);
  });
  return Array.from({ length: seats }, (_, seat) => ends.findIndex((end) => seat < end));
}
