/** Links that failed while both their ends are alive. The first failure is answered by the next generation's new links; a pair's second in a row by leaving one out. */
import type { Millis } from "@ringmaster/protocol";

export interface LinkFault {
  /** Who said it, and of whom. */
  readonly between: readonly [string, string | null];
  readonly message: string;
  /** The pair's link failed in the generation before, too. */
  readonly isRepeated: boolean;
}

export class LinkFaults {
  #open: { readonly fault: LinkFault; readonly generation: number; readonly atMs: Millis } | undefined;
  /** [pair]: the generation in which its link failed last. */
  readonly #failedIn = new Map<string, number>();

  /** A link's failure may be the first sign of a death: it waits for the other signs. */
  failed(reporter: string, peer: string | null, generation: number, message: string, now: Millis): void {
    const pair = [reporter, peer ?? ""].sort().join(" ");
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
}
