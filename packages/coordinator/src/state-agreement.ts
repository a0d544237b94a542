/**
 * Whether all ranks of a generation hold the same state. The hashes of a step are compared once all are in: compared as they come, the rank that comes second
 * would be blamed for the first.
 */
export interface Disagreement {
  readonly step: number;
  /** The hash that most ranks have; null where no hash has most of them. */
  readonly agreed: string | null;
  /** Who has another, by worker id; everybody, where nothing is agreed. */
  readonly odd: readonly { readonly worker: string; readonly hash: string }[];
}

/** A state may be announced long after its hash: it waits for those before it to be sent. */
const remembered = 65_536;

export class StateAgreement {
  readonly #open = new Map<number, Map<string, string>>();
  readonly #agreed = new Map<number, string>();

  /** @returns how the ranks differ after `step`, once all have reported; null where they do not. */
  report(worker: string, step: number, hash: string, ranks: number): Disagreement | null {
    const hashes = this.#open.get(step) ?? new Map<string, string>();
    this.#open.set(step, hashes.set(worker, hash));
    if (hashes.size < ranks) return null;
    this.#open.delete(step);
    if (new Set(hashes.values()).size > 1) return disagreement(step, hashes);
    this.#agreed.set(step, hash);
    for (const oldest of this.#agreed.keys()) {
      if (this.#agreed.size <= remembered) break;
      this.#agreed.delete(oldest);
    }
    return null;
  }

  /** The hash that all ranks have of their state after `step`, as far as it is known. */
  agreedOn(step: number): string | undefined {
    return this.#agreed.get(step);
  }

  /** Some ranks' hashes of this step are in, and others are still to come. */
  isOpen(step: number): boolean {
    return this.#open.has(step);
  }

  /** Another generation compares anew, the steps after `step` altogether. */
  proceed(step: number): void {
    this.#open.clear();
    for (const agreed of this.#agreed.keys()) if (agreed > step) this.#agreed.delete(agreed);
  }
}

function disagreement(step: number, hashes: ReadonlyMap<string, string>): Disagreement {
  const holders = new Map<string, number>();
  for (const hash of hashes.values()) holders.set(hash, (holders.get(hash) ?? 0) + 1);
  const [most] = [...holders].sort(([, a], [, b]) => b - a);
  const agreed = most && most[1] > hashes.size / 2 ? most[0] : null;
  return { step, agreed, odd: [...hashes].flatMap(([worker, hash]) => (hash === agreed ? [] : [{ worker, hash }])) };
}
