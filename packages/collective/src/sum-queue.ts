/**
 * Runs sums on the thread that also serves sockets: in order, for some 2 ms at a time, and between two such slices the event loop turns.
 */
import type { SumEffect } from "./ring-messages.ts";

const sliceMs = 2;

export class SumQueue {
  readonly #run: (sum: SumEffect) => void;
  #waiting: SumEffect[] = [];
  #next = 0; // index in `waiting`
  #busy = false; // in a slice, or one is scheduled

  /** `run` may push further sums. */
  constructor(run: (sum: SumEffect) => void) {
    this.#run = run;
  }

  push(sum: SumEffect): void {
    this.#waiting.push(sum);
  }

  /** Works on what waits, now where the queue was idle, else when its slice comes. */
  work(): void {
    if (this.#busy) return;
    this.#busy = true;
    const until = performance.now() + sliceMs;
    do {
      const sum = this.#waiting[this.#next];
      if (sum === undefined) break;
      this.#next++;
      this.#run(sum);
    } while (performance.now() < until);
    if (this.#next < this.#waiting.length) {
      setImmediate(() => {
        this.#busy = false;
        this.work();
      });
      return;
    }
    this.clear();
    this.#busy = false;
  }

  clear(): void {
    this.#waiting = [];
    this.#next = 0;
  }
}
