/**
 * A sample may kill whoever computes it, or hang it: a decoder that crashes, memory that does not suffice. Its seat is inherited, and so would be the death. The second
 * death at one step of a rank that worked one and the same seat, each in a generation of its own, is taken for that; of ranks that were lost without anyone seeing
 * them dead, as on other machines, the fourth.
 */
export interface Suspect {
  /** The step after which the seat's samples are worked. */
  readonly step: number;
  readonly seat: number;
}

const [uncertain, certain, tooMuch] = [1, 2, 4];

export class SuspectSamples {
  #step = -1;
  /** [seat]: the generations in which a rank was lost that worked it, at this step, and how much each weighs. */
  readonly #losses = new Map<number, Map<number, number>>();

  /** @param isCertain it is known to be dead @returns the seat that is to be blamed, or null. */
  lost(generation: number, step: number, seats: readonly number[], isCertain: boolean): Suspect | null {
    if (step !== this.#step) this.passed(step);
    for (const seat of seats) {
      const weights = this.#losses.get(seat) ?? new Map<number, number>();
      this.#losses.set(seat, weights);
      weights.set(generation, Math.max(weights.get(generation) ?? 0, isCertain ? certain : uncertain));
      if ([...weights.values()].reduce((sum, weight) => sum + weight, 0) >= tooMuch) return { step, seat };
    }
    return null;
  }

  passed(step: number): void {
    this.#step = step;
    this.#losses.clear();
  }
}
