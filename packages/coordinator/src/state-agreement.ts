/**
 * Whether all ranks hold the same state. The hashes of a step are compared once all are in: compared as they come, the rank that comes second would be
 * blamed for the first.
 */
export interface Disagreement {
  /** The hash that most ranks have; null where no hash has most of them. */
  readonly agreed: string | null;
  /** Who has another, by rank; everybody, where nothing is agreed. */
  readonly odd: readonly { readonly rank: number; readonly hash: string }[];
}

/** A state may be announced long after its hash: it waits for those before it to be sent. */
const remembered = 65_536;

export class StateAgreement {
  readonly #open = new Map<number, Map<number, string>>();
  readonly #agreed = new Map<number, string>();

  /** @returns how the ranks differ after `step`, once all have reported; null where they do not. */
  report(rank: number, step: number, hash: string, ranks: number): Disagreement | null {
    const hashes = this.#open.get(step) ?? new Map<number, string>();
    this.#open.set(step, hashes.set(rank, hash));
    if (hashes.size < ranks) return null;
    this.#open.delete(step);
    if (new Set(hashes.values()).size > 1) return disagreement(hashes);
    this.#agreed.set(step, hash);
    for (const oldest of this.#agreed.keys()) {
      if (this.#agreed.size <= remembered) break;
      this.#agreed.delete(oldest);
    }
    return null;
  }

  /** The hash that `rank` reported of its state after `step`. */
  hashOf(rank: number, step: number): string | undefined {
    return this.#agreed.get(step) ?? this.#open.get(step)?.get(rank);
  }
}

function disagreement(hashes: ReadonlyMap<number, string>): Disagreement {
  const holders = new Map<string, number>();
  for (const hash of hashes.values()) holders.set(hash, (holders.get(hash) ?? 0) + 1);
  const [most] = [...holders].sort(([, a], [, b]) => b - a);
  const agreed = most && most[1] > hashes.size / 2 ? most[0] : null;
  const odd = [...hashes].flatMap(([rank, hash]) => (hash === agreed ? [] : [{ rank, hash }]));
  return { agreed, odd: odd.sort((a, b) => a.rank - b.rank) };
}
