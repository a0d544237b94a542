/**
 * A sample may kill whoever computes it: a decoder that crashes, memory that does not suffice. Its seat is inherited, and so would be the death. The second
 * death at one step of a rank that worked one and the same seat, each in a generation of its own, is taken for that.
 */
export interface Suspect {
  /** The step after which the seat's samples are worked. */
  readonly step: number;
  readonly seat: number;
}

export class SuspectSamples {
  #step = -1;
  /** [seat]: the generations in which a rank died that worked it, at this step. */
  readonly #deaths = new Map<number, Set<number>>();

  /** @returns the seat that is to be blamed, or null. */
  died(generation: number, step: number, seats: readonly number[]): Suspect | null {
    if (step !== this.#step) this.passed(step);
    for (const seat of seats) {
      const generations = this.#deaths.get(seat) ?? new Set<number>();
      this.#deaths.set(seat, generations.add(generation));
      if (generations.size > 1) return { step, seat };
    }
    return null;
  }

  passed(step: number): void {
    this.#step = step;
    this.#deaths.clear();
  }
}
