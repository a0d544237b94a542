/** Evaluations wait until their step is committed: another rank's word of the step may come later, over its own connection. Each is shown once. */
import type { WorkerEvaluated } from "@ringmaster/protocol";
import type { RunEvent } from "./coordinator-io.ts";

type Evaluated = Extract<RunEvent, { type: "evaluated" }>;

export class Evaluations {
  #waiting: WorkerEvaluated[] = [];
  readonly #shown: Set<string>;

  /** @param shown by another coordinator of the run */
  constructor(shown: readonly { readonly step: number; readonly split: string }[]) {
    this.#shown = new Set(shown.map(({ step, split }) => `${step} ${split}`));
  }

  /** @returns what can be shown now. */
  add(evaluated: WorkerEvaluated, committed: number): Evaluated[] {
    if (this.#shown.has(keyOf(evaluated))) return [];
    // That of a step that is tried again takes the place of the former.
    this.#waiting = [...this.#waiting.filter((each) => keyOf(each) !== keyOf(evaluated)), evaluated];
    return this.upTo(committed);
  }

  upTo(committed: number): Evaluated[] {
    const due = this.#waiting.filter(({ step }) => step <= committed);
    this.#waiting = this.#waiting.filter(({ step }) => step > committed);
    for (const evaluated of due) this.#shown.add(keyOf(evaluated));
    return due.map(({ step, evaluation }) => ({ type: "evaluated", step, evaluation }));
  }

  /** The world went back to `step`: what comes after it will be found again. */
  restore(step: number): void {
    this.#waiting = [];
    for (const key of this.#shown) if (Number.parseInt(key, 10) > step) this.#shown.delete(key);
  }
}

const keyOf = ({ step, evaluation }: WorkerEvaluated): string => `${step} ${evaluation.split}`;
