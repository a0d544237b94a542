/**
 * What this rank has said of its steps, kept until the coordinator has it on disk: a coordinator that dies takes what it heard with it, and the next one is
 * told again. Every rank keeps evaluations, though only rank 0 says them as they come: it may die before the coordinator has them, so the others say theirs when
 * the world regroups, and to a coordinator that is back. For the same reason whoever copies a state copies what was said of its steps: coordinator and holder may
 * die together, and then it is the only one who knows.
 */
import type { WorkerEvaluated, WorkerHeld, WorkerStateHash } from "@ringmaster/protocol";

export type HistoryMessage = WorkerHeld | WorkerEvaluated;
export type KeptMessage = HistoryMessage | WorkerStateHash;

/** Beyond it the oldest are let go: a coordinator that is away must not fill the memory. */
const mostKept = 100_000;

export class Outbox {
  /** In the order of steps. */
  readonly #messages = new Map<string, KeptMessage>();
  readonly #most: number;
  #isFull = false;

  constructor(most = mostKept) {
    this.#most = most;
  }

  /** What was said of the same thing before, as when a boundary is worked again, is replaced. @returns whether this is the first for which an older message was let go */
  add(message: KeptMessage): boolean {
    const key = keyOf(message);
    this.#messages.delete(key);
    this.#messages.set(key, message);
    if (this.#messages.size <= this.#most) return false;
    for (const oldest of this.#messages.keys()) {
      this.#messages.delete(oldest);
      break;
    }
    const isNews = !this.#isFull;
    this.#isFull = true;
    return isNews;
  }

  /** What whoever copies the state of `step` must know of how it came about. */
  historyOf(step: number): readonly HistoryMessage[] {
    return [...this.#messages.values()].filter(
      (message): message is HistoryMessage => message.type !== "WorkerStateHash" && message.step <= step,
    );
  }

  /** The history of a state that was copied; what this rank has said of the same things itself stays. */
  adopt(history: readonly HistoryMessage[]): void {
    const missing = history.filter((message) => !this.#messages.has(keyOf(message)));
    if (missing.length === 0) return;
    const all = [...this.#messages.values(), ...missing].sort((a, b) => a.step - b.step);
    this.#messages.clear();
    for (const message of all) this.add(message);
  }

  /** Everything of the steps up to this one is on disk. */
  kept(step: number): void {
    this.#isFull = false;
    for (const [key, message] of this.#messages) {
      if (message.step > step) return;
      this.#messages.delete(key);
    }
  }

  /** The world went back to this step: what was said of later ones is no part of its history. */
  rewind(step: number): void {
    for (const [key, message] of this.#messages) if (message.step > step) this.#messages.delete(key);
  }

  clear(): void {
    this.#messages.clear();
  }

  /** What a coordinator that may have lost everything is told. */
  all(): readonly KeptMessage[] {
    return [...this.#messages.values()];
  }

  evaluations(): readonly WorkerEvaluated[] {
    return [...this.#messages.values()].filter((message) => message.type === "WorkerEvaluated");
  }
}

function keyOf(message: KeptMessage): string {
  const { type, step } = message;
  return type === "WorkerEvaluated" ? `${type}/${step}/${message.evaluation.split}` : `${type}/${step}`;
}
