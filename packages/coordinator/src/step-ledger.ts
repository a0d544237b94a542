/**
 * Which ranks hold which steps. A step is committed when all ranks of its generation hold it, or when the world has proceeded from it or from a later one.
 * Ranks differ by one step at most, but what they say of steps comes again after a coordinator was away: each says it in order, one after the other, and who
 * joined late has not seen the earlier steps. So a step beyond a gap waits until all ranks have said theirs: only then nobody is left who could fill it.
 */
import type { WorkerHeld } from "@ringmaster/protocol";

export interface StepReport {
  /** Steps done. */
  readonly step: number;
  readonly stateId: string;
  /** Sums over the global batch. */
  readonly tail: WorkerHeld["tail"];
  /** Of the slowest rank, field by field. */
  readonly timing: WorkerHeld["timing"];
  /** Peak resident memory of the largest rank. */
  readonly memoryBytes: number;
}

export class StepLedger {
  #committed: number;
  /** Steps up to here are committed, whoever reports them. */
  #proven: number;
  readonly #open = new Map<number, Map<string, WorkerHeld>>();

  constructor(committed: number) {
    this.#committed = committed;
    this.#proven = committed;
  }

  get committed(): number {
    return this.#committed;
  }

  /** @param ranks of the generation @returns the steps that are committed by this, in order. */
  held(worker: string, message: WorkerHeld, ranks: number): StepReport[] {
    if (message.step <= this.#committed) return [];
    const holders = this.#open.get(message.step) ?? new Map<string, WorkerHeld>();
    // A step that is tried again is another: what was said of the former attempt is void.
    const [other] = holders.values();
    if (other && other.stateId !== message.stateId) holders.clear();
    this.#open.set(message.step, holders.set(worker, message));
    return this.#commit(ranks);
  }

  /** The world proceeds from `step`: what was said of later ones belongs to attempts that are over. */
  proceed(step: number): StepReport[] {
    for (const open of this.#open.keys()) if (open > step) this.#open.delete(open);
    this.#proven = Math.max(this.#proven, step);
    return this.#commit(Number.POSITIVE_INFINITY);
  }

  /** The world goes back to `step`. */
  restore(step: number): void {
    this.#open.clear();
    this.#committed = step;
    this.#proven = step;
  }

  #commit(ranks: number): StepReport[] {
    const reports: StepReport[] = [];
    const held = [...this.#open].filter(([, holders]) => holders.size >= ranks).map(([step]) => step);
    const newest = Math.max(this.#committed, ...held);
    for (const step of [...this.#open.keys()].sort((a, b) => a - b)) {
      const holders = this.#open.get(step);
      const isNext = step === this.#committed + 1 && step <= this.#proven;
      if (!holders || (step > newest && !isNext)) break;
      this.#open.delete(step);
      this.#committed = step;
      reports.push(summarise(step, [...holders.values()]));
    }
    return reports;
  }
}

function summarise(step: number, held: readonly WorkerHeld[]): StepReport {
  const [first] = held;
  if (!first) throw new RangeError(`nobody has reported step ${step}`);
  const slowest = (field: keyof WorkerHeld["timing"]) => Math.max(...held.map(({ timing }) => timing[field]));
  return {
    step,
    stateId: first.stateId,
    tail: first.tail,
    timing: {
      dataMs: slowest("dataMs"),
      computeMs: slowest("computeMs"),
      communicationMs: slowest("communicationMs"),
      optimizerMs: slowest("optimizerMs"),
    },
    memoryBytes: Math.max(...held.map(({ memoryBytes }) => memoryBytes)),
  };
}
