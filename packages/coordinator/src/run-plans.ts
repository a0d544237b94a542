/**
 * What is to take effect after one step, the same on all ranks: a stop, or a checkpoint by minutes. Every rank is told the plan, and says with its next step that
 * it has it; the step to which all ranks brought that word is the one, and the ranks find it out for themselves.
 *
 * One plan at a time: a rank has one. A stop waits for the plan before it, and is planned as soon as that took effect.
 */
import { type CoordinatorPlan, planWord } from "@ringmaster/protocol";
import type { StepReport } from "./step-ledger.ts";

export class RunPlans {
  /** The newest; `isPending`: it has not taken effect yet. */
  #newest: { readonly plan: CoordinatorPlan; isPending: boolean } | undefined;
  #used: number;
  #stopReason: string | null = null;

  /** @param used plans of higher numbers are this coordinator's */
  constructor(used: number) {
    this.#used = used;
  }

  /** Why the run stops; null: nobody asked for it. */
  get stopReason(): string | null {
    return this.#stopReason;
  }

  /** What every member has to know. */
  get newest(): CoordinatorPlan | null {
    return this.#newest?.plan ?? null;
  }

  /** A stop is asked for. Where nobody can take it up there is none to plan. */
  stops(reason: string): void {
    this.#stopReason = reason;
  }

  /** @returns what the members are to be told now, if anything */
  make(change: CoordinatorPlan["change"]): CoordinatorPlan | null {
    if (this.#newest?.isPending) return null;
    const plan: CoordinatorPlan = { type: "CoordinatorPlan", planId: ++this.#used, change };
    this.#newest = { plan, isPending: true };
    return plan;
  }

  /** A rank loads its state: that knows of no plan, which is pending again. */
  loads(): void {
    if (this.#newest) this.#newest.isPending = true;
  }

  /** @param seats of the run @returns as {@link make}: the stop that waited */
  committed(reports: readonly StepReport[], seats: number | undefined): CoordinatorPlan | null {
    const newest = this.#newest;
    if (!newest?.isPending || seats === undefined) return null;
    const words = seats * planWord(newest.plan.planId);
    if (!reports.some(({ tail }) => tail.plan === words)) return null;
    newest.isPending = false;
    return this.#stopReason !== null && newest.plan.change !== "stop" ? this.make("stop") : null;
  }
}
