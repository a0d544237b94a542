/**
 * Ring all-reduce over seats, as data.
 *
 * A bucket is cut into as many chunks as there are seats. Chunk c is folded in seat order c + 1, c + 2, ... c, so its bits depend on the
 * number of seats alone, whoever sits where. Walking those seats, each maximal run on one rank is a visit: the rank takes the partial sum,
 * adds its seats in order, and passes it on. The last visit completes the chunk, which then goes round the other ranks as it is. With one
 * seat a rank, each rank sends 2 (S - 1) / S of the buffer: the optimum (Patarasuk and Yuan, 2009).
 *
 * Where a rank's arc holds both c and c + 1, the fold starts and ends inside the arc: that rank has the first and the last visit.
 */
import { CollectiveError } from "./collective-error.ts";
import { maxSeats } from "./layout.ts";

/** The rank on each seat: `seating[seat]`. Ranks sit on arcs of neighbouring seats, ascending round the ring. */
export type Seating = readonly number[];

/** A maximal run of a chunk's fold order on one rank. */
export interface Visit {
  readonly rank: number;
  readonly seats: readonly number[];
}

/** The seats in the order in which `chunk` is folded: chunk + 1, chunk + 2, ... chunk. */
export function foldOrder(chunk: number, seats: number): readonly number[] {
  return Array.from({ length: seats }, (_, k) => (chunk + 1 + k) % seats);
}

/** The visits of a chunk in order; the last one completes it. */
export function visits(chunk: number, seating: Seating): readonly Visit[] {
  const found: { rank: number; seats: number[] }[] = [];
  for (const seat of foldOrder(chunk, seating.length)) {
    const rank = rankOn(seating, seat);
    const last = found.at(-1);
    if (last?.rank === rank) last.seats.push(seat);
    else found.push({ rank, seats: [seat] });
  }
  return found;
}

/** How many ranks sit in a (checked) seating. */
export function worldSize(seating: Seating): number {
  return seating.reduce((most, rank) => Math.max(most, rank), -1) + 1;
}

/** The rank that receives what `rank` sends. */
export function nextRank(rank: number, world: number): number {
  return (rank + 1) % world;
}

/** The rank from which `rank` receives. */
export function previousRank(rank: number, world: number): number {
  return (rank + world - 1) % world;
}

/**
 * Checks that ranks 0 to W - 1 each sit on one arc of neighbouring seats (the arc may wrap), ascending round the ring.
 * @throws CollectiveError `BAD_SEATING`
 */
export function checkSeating(seating: Seating): void {
  const seats = seating.length;
  if (seats < 1 || seats > maxSeats)
    throw new CollectiveError("BAD_SEATING", `a seating has 1 to ${maxSeats} seats, not ${seats}`);
  for (const [seat, rank] of seating.entries())
    if (!Number.isInteger(rank) || rank < 0 || rank >= seats)
      throw new CollectiveError("BAD_SEATING", `seat ${seat} needs a rank of 0 to ${seats - 1}, not ${rank}`);
  // Once round the ring, every change of rank must be to the next rank, and there must be just W of them: then each rank has one arc.
  const world = worldSize(seating);
  let arcs = 0;
  for (let seat = 0; seat < seats; seat++) {
    const rank = rankOn(seating, seat);
    const after = rankOn(seating, (seat + 1) % seats);
    if (rank === after) continue;
    arcs++;
    if (after !== nextRank(rank, world))
      throw new CollectiveError(
        "BAD_SEATING",
        `rank ${after} sits after rank ${rank} at seat ${(seat + 1) % seats}; ranks must ascend round the ring`,
      );
  }
  if (arcs !== (world === 1 ? 0 : world))
    throw new CollectiveError(
      "BAD_SEATING",
      `${world} ranks must sit on one arc of neighbouring seats each, but there are ${arcs} arcs`,
    );
}

function rankOn(seating: Seating, seat: number): number {
  const rank = seating[seat];
  if (rank === undefined)
    throw new CollectiveError("BAD_SEATING", `there is no seat ${seat} in a seating of ${seating.length}`);
  return rank;
}
