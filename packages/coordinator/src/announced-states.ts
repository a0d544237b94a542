/**
 * States that workers send to be written as checkpoints, until it is known that they may be. The hash of a step is compared once all ranks have said theirs,
 * which may be after a state is here whole: one that another rank does not agree with must not become what the run goes back to.
 */
import type { StateAgreement } from "./state-agreement.ts";

interface Announced {
  readonly stateId: string;
  readonly stateHash: string;
  isHere: boolean;
  /** Handed on to be written. */
  isReleased: boolean;
}

/** What is to be done about a state: hand it on to be written, let its bytes go, or nothing yet. */
type Verdict = "write" | "forget" | "wait";

export class AnnouncedStates {
  readonly #agreement: StateAgreement;
  readonly #byStep = new Map<number, Announced>();

  constructor(agreement: StateAgreement) {
    this.#agreement = agreement;
  }

  announce(step: number, stateId: string, stateHash: string): void {
    const known = this.#byStep.get(step);
    if (known?.stateId !== stateId || known.stateHash !== stateHash)
      this.#byStep.set(step, { stateId, stateHash, isHere: false, isReleased: false });
  }

  arrived(step: number, stateId: string): Verdict {
    const state = this.#byStep.get(step);
    if (state?.stateId !== stateId) return "forget";
    const isAgain = state.isReleased;
    state.isHere = true;
    return isAgain ? "write" : this.#judge(step, state);
  }

  /** More is known of the hashes of this step. @returns what is to be done now, and about which state */
  compared(step: number): { readonly verdict: Verdict; readonly stateId: string } {
    const state = this.#byStep.get(step);
    if (!state?.isHere || state.isReleased) return { verdict: "wait", stateId: "" };
    return { verdict: this.#judge(step, state), stateId: state.stateId };
  }

  #judge(step: number, state: Announced): Verdict {
    const agreed = this.#agreement.agreedOn(step);
    // Where nobody has said a hash to this coordinator, the one before it heard them.
    if (agreed === undefined && this.#agreement.isOpen(step)) return "wait";
    state.isReleased = (agreed ?? state.stateHash) === state.stateHash;
    if (!state.isReleased) this.#byStep.delete(step);
    return state.isReleased ? "write" : "forget";
  }

  /** Nobody needs the state of this step, or of one before. */
  passed(step: number): number[] {
    return this.#drop((each) => each <= step);
  }

  /** States of later steps are no part of the run. */
  rewound(step: number): number[] {
    return this.#drop((each) => each > step);
  }

  /** @returns of which of them the bytes are here */
  #drop(which: (step: number) => boolean): number[] {
    const gone = [...this.#byStep].filter(([step]) => which(step));
    for (const [step] of gone) this.#byStep.delete(step);
    return gone.flatMap(([step, { isHere }]) => (isHere ? [step] : []));
  }
}
