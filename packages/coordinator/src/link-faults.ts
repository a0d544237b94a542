/**
 * Links that failed while both their ends are alive. The first failure is answered by the next generation's new links. A pair's second in a row means that they
 * cannot reach each other: they are seated apart, so that the ring has no link between them; where there are too few ranks for that, one of them is left out, and
 * taken in again after a while, which grows each time.
 */
import type { Millis } from "@ringmaster/protocol";
import { type KnownWorker, placeOf } from "./known-workers.ts";

export interface LinkFault {
  /** Who said it, and of whom. */
  readonly between: readonly [string, string | null];
  readonly message: string;
  /** The pair's link failed in the generation before, too. */
  readonly isRepeated: boolean;
}

/** How long a place is left out, the first time and at most. */
const leastLeftOutMs = 20_000;
const mostLeftOutMs = 600_000;

export class LinkFaults {
  #open: { readonly fault: LinkFault; readonly generation: number; readonly atMs: Millis } | undefined;
  /** [pair]: the generation in which its link failed last. */
  readonly #failedIn = new Map<string, number>();
  /** Pairs that are no neighbours in the ring. */
  readonly #apart = new Set<string>();
  /** [place] */
  readonly #leftOut = new Map<string, { readonly forMs: Millis; readonly untilMs: Millis }>();

  /** A link's failure may be the first sign of a death: it waits for the other signs. */
  failed(reporter: string, peer: string | null, generation: number, message: string, now: Millis): void {
    const pair = pairOf(reporter, peer ?? "");
    const before = this.#failedIn.get(pair);
    this.#failedIn.set(pair, generation);
    if (this.#failedIn.size > 10_000) this.#failedIn.clear();
    const isRepeated = peer !== null && before !== undefined && before === generation - 1;
    if (this.#open?.generation === generation) return;
    this.#open = { fault: { between: [reporter, peer], message, isRepeated }, generation, atMs: now };
  }

  /** Whether a neighbour has lost its link with this worker, in this generation. */
  names(worker: string, generation: number): boolean {
    return this.#open?.generation === generation && this.#open.fault.between[1] === worker;
  }

  /** The failure that has waited for `blameMs` in vain; another generation has other links. */
  due(generation: number, now: Millis, blameMs: Millis): LinkFault | undefined {
    if (this.#open && this.#open.generation !== generation) this.#open = undefined;
    if (!this.#open || now - this.#open.atMs < blameMs) return undefined;
    const { fault } = this.#open;
    this.#open = undefined;
    return fault;
  }

  /** Remembers that two cannot reach each other. @returns false: these members cannot be seated so that the two are no neighbours */
  seatApart(one: string, other: string, members: readonly string[]): boolean {
    const pair = pairOf(one, other);
    this.#apart.add(pair);
    if (this.#ordered(members) !== null) return true;
    this.#apart.delete(pair);
    return false;
  }

  /** The order of ranks: as given, unless that makes neighbours of two that cannot reach each other. */
  order(members: readonly string[]): readonly string[] {
    return this.#ordered(members) ?? members;
  }

  #ordered(members: readonly string[]): readonly string[] | null {
    if (this.#apart.size === 0) return members;
    const order = [...members];
    const isFault = (id: string, rank: number) => this.#apart.has(pairOf(id, order[(rank + 1) % order.length] ?? id));
    const faults = () => order.filter(isFault).length;
    const swap = (a: number, b: number) => {
      [order[a], order[b]] = [order[b] ?? "", order[a] ?? ""];
    };
    for (let left = faults(); left > 0; ) {
      const moved = (order.findIndex(isFault) + 1) % order.length;
      const place = order.findIndex((_, other) => {
        swap(moved, other);
        const isBetter = faults() < left;
        swap(moved, other);
        return isBetter;
      });
      if (place < 0) return null;
      swap(moved, place);
      left = faults();
    }
    return order;
  }

  /** Which of two is to be left out: the one that was before, else the one whose links with others have failed too, of late; else the second. */
  worseOf(one: KnownWorker, other: KnownWorker, generation: number): KnownWorker {
    const failures = ({ id }: KnownWorker) =>
      [...this.#failedIn].filter(([pair, last]) => last >= generation - 2 && pair.split(" ").includes(id)).length;
    const wasOut = (worker: KnownWorker) => this.#leftOut.has(placeOf(worker));
    if (wasOut(one) !== wasOut(other)) return wasOut(one) ? one : other;
    return failures(one) > failures(other) ? one : other;
  }

  /** @returns for how long it is not taken in, nor another from the same place: it comes back under another id */
  leaveOut(worker: KnownWorker, now: Millis): Millis {
    const place = placeOf(worker);
    const last = this.#leftOut.get(place);
    const isAnew = last === undefined || now - last.untilMs > mostLeftOutMs;
    const forMs = isAnew ? leastLeftOutMs : Math.min(mostLeftOutMs, 2 * last.forMs);
    if (this.#leftOut.size > 10_000) this.#leftOut.clear();
    this.#leftOut.set(place, { forMs, untilMs: now + forMs });
    return forMs;
  }

  isLeftOut(worker: KnownWorker, now: Millis): boolean {
    return now < (this.#leftOut.get(placeOf(worker))?.untilMs ?? 0);
  }

  /** A worker that is gone does not come back under this id. */
  forget(worker: string): void {
    const isOf = (pair: string) => pair.split(" ").includes(worker);
    for (const pair of this.#apart) if (isOf(pair)) this.#apart.delete(pair);
    for (const pair of this.#failedIn.keys()) if (isOf(pair)) this.#failedIn.delete(pair);
  }
}

const pairOf = (one: string, other: string): string => (one < other ? `${one} ${other}` : `${other} ${one}`);
