/** How fast ranks work their seats, as measured, and what seating follows from it. */
import type { Millis } from "@ringmaster/protocol";
import type { MembershipRecord } from "./membership.ts";
import { type Balance, seatRanks } from "./seating.ts";

export interface SeatedWorker {
  readonly id: string;
  readonly threads: number;
  readonly capacity: number;
}

/** Steps that count. */
const remembered = 64;
/** Fewer measured steps say nothing. */
const leastSteps = 16;
/** Another seating must promise steps shorter by this part, and the last must be so old. */
const leastGain = 0.15;
const leastAgeMs = 10_000;

export class RankSpeeds {
  /** [worker]: compute time of its last steps, a seat. */
  readonly #perSeatMs = new Map<string, number[]>();
  readonly #stepMs: number[] = [];
  #seatedMs: Millis | undefined;
  #generation = -1;

  add(id: string, seats: number, computeMs: Millis): void {
    if (seats === 0 || computeMs === 0) return;
    keep(this.#stepMs, computeMs);
    const times = this.#perSeatMs.get(id) ?? [];
    keep(times, computeMs / seats);
    this.#perSeatMs.set(id, times);
  }

  forget(id: string): void {
    this.#perSeatMs.delete(id);
  }

  /** Of any rank in the last steps; undefined before there are enough. */
  longestStepMs(): Millis | undefined {
    return this.#stepMs.length < leastSteps ? undefined : Math.max(...this.#stepMs);
  }

  /** [seats]: who sits where, by index into `workers`; null where they cannot hold all seats. */
  seat(seats: number, workers: readonly SeatedWorker[], balance: Balance): number[] | null {
    const measured = workers.map(({ id }) => this.#measured(id));
    const isKnown = balance === "speed" && measured.every((ms) => ms !== undefined);
    return seatRanks(
      seats,
      workers.map(({ threads, capacity }, index) => ({
        speed: isKnown ? 1 / (measured[index] ?? 1) : threads,
        capacity,
      })),
    );
  }

  /** Why another seating would be better than the record's, or null. */
  betterSeating(
    record: Extract<MembershipRecord, { kind: "proceeding" }>,
    seat: (ids: readonly string[]) => readonly number[] | null,
    now: Millis,
  ): string | null {
    if (record.generation !== this.#generation) {
      this.#generation = record.generation;
      this.#seatedMs = now;
    }
    if (now - (this.#seatedMs ?? now) < leastAgeMs) return null;
    const better = seat(record.members);
    const present = this.#stepOf(record.members, record.seating);
    const promised = better && this.#stepOf(record.members, better);
    if (!present || !promised || promised > present * (1 - leastGain)) return null;
    return `seats move to where they are worked faster: ${Math.round(present)} ms a step become ${Math.round(promised)}`;
  }

  /** A step takes as long as its busiest rank. */
  #stepOf(members: readonly string[], seating: readonly number[]): Millis | undefined {
    const times = members.map((id, rank) => {
      const perSeat = this.#measured(id);
      return perSeat && perSeat * seating.filter((owner) => owner === rank).length;
    });
    return times.every((ms) => ms !== undefined) ? Math.max(...times) : undefined;
  }

  #measured(id: string): Millis | undefined {
    const times = this.#perSeatMs.get(id);
    if (!times || times.length < leastSteps) return undefined;
    return [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)];
  }
}

function keep(times: number[], ms: number): void {
  times.push(ms);
  if (times.length > remembered) times.shift();
}
