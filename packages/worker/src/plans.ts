/**
 * Planned changes: each takes effect after the step whose reduced tail says that all seats were given it, on all ranks alike. The coordinator sends a newer
 * one only once the one before took effect or its step is lost; until a rank has heard of it, the tail's sum of plan words is not that of all seats. Nor is it where
 * ranks have different plans, as when a coordinator died after it had told one of them.
 */
import { type CoordinatorPlan, type PlanEffect, planWord } from "@ringmaster/protocol";

type Plan = Pick<CoordinatorPlan, "planId" | "change">;

export class Plans {
  /** The newest that has not taken effect. */
  #pending: Plan | null = null;
  /** What the step under way was given. */
  #given: Plan | null = null;
  #effect: PlanEffect | null = null;

  /** The one that took effect last: a part of the state. */
  get effect(): PlanEffect | null {
    return this.#effect;
  }

  hear({ planId, change }: Plan): void {
    if (this.#isNew(planId) && planId > (this.#pending?.planId ?? 0)) this.#pending = { planId, change };
  }

  /** A step begins. @returns the word of the plan that its seats are given; 0: none */
  give(): number {
    this.#given = this.#pending;
    return this.#given === null ? 0 : planWord(this.#given.planId);
  }

  /** `step` is held. @param words the sum over its seats */
  held(step: number, words: number, seats: number): void {
    const given = this.#given;
    this.#given = null;
    if (given && words === seats * planWord(given.planId)) this.adopt({ ...given, after: step });
  }

  /** Of a state that was copied or loaded. A plan whose effect that state does not know is pending again. */
  adopt(effect: PlanEffect | null): void {
    this.#pending ??= this.#effect;
    this.#effect = effect;
    this.#given = null;
    if (this.#pending && !this.#isNew(this.#pending.planId)) this.#pending = null;
  }

  clear(): void {
    this.#pending = this.#given = this.#effect = null;
  }

  #isNew(planId: number): boolean {
    return planId > (this.#effect?.planId ?? 0);
  }
}
