/** Virtual time: a clock that jumps from one event to the next. Events of one moment happen in the order in which they were asked for, so a world replays exactly. */
import type { Millis } from "@ringmaster/protocol";

export interface Timer {
  /** It is still to happen. */
  readonly isDue: boolean;
  cancel(): void;
}

class Event implements Timer {
  readonly atMs: Millis;
  readonly order: number;
  run: (() => void) | undefined;

  constructor(atMs: Millis, order: number, run: () => void) {
    this.atMs = atMs;
    this.order = order;
    this.run = run;
  }

  get isDue(): boolean {
    return this.run !== undefined;
  }

  cancel(): void {
    this.run = undefined;
  }
}

export class VirtualTime {
  /** A binary heap, the next event first. */
  readonly #heap: Event[] = [];
  #asked = 0;
  #nowMs = 0;
  #events = 0;

  get nowMs(): Millis {
    return this.#nowMs;
  }

  /** How many have happened. */
  get events(): number {
    return this.#events;
  }

  at(atMs: Millis, run: () => void): Timer {
    const event = new Event(Math.max(atMs, this.#nowMs), this.#asked++, run);
    this.#push(event);
    return event;
  }

  after(delayMs: Millis, run: () => void): Timer {
    return this.at(this.#nowMs + delayMs, run);
  }

  /** Lets the next event happen. @returns false where there is none */
  advance(): boolean {
    for (let event = this.#pop(); event !== undefined; event = this.#pop()) {
      const { run } = event;
      if (run === undefined) continue;
      event.run = undefined;
      this.#nowMs = event.atMs;
      this.#events++;
      run();
      return true;
    }
    return false;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(event, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const [first] = heap;
    const last = heap.pop();
    if (first === undefined || last === undefined || first === last) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      let below = heap[child];
      if (below === undefined) break;
      const right = heap[child + 1];
      if (right !== undefined && isBefore(right, below)) {
        below = right;
        child++;
      }
      if (!isBefore(below, last)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

const isBefore = (a: Event, b: Event): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
