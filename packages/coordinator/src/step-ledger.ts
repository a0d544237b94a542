/** Which ranks hold which steps; a step that all hold is committed. Ranks differ by one step at most, so little is open at a time. */
import type { WorkerHeld } from "@ringmaster/protocol";

export interface StepReport {
  /** Steps done. */
  readonly step: number;
  /** Sums over the global batch. */
  readonly tail: WorkerHeld["tail"];
  /** Of the slowest rank, field by field. */
  readonly timing: WorkerHeld["timing"];
  /** Peak resident memory of the largest rank. */
  readonly memoryBytes: number;
}

export class StepLedger {
  #committed: number;
  readonly #open = new Map<number, Map<number, WorkerHeld>>();

  constructor(committed: number) {
    this.#committed = committed;
  }

  get committed(): number {
    return this.#committed;
  }

  /** @returns the steps that are committed by this, in order. */
  held(rank: number, message: WorkerHeld, ranks: number): StepReport[] {
    if (message.step <= this.#committed) return [];
    const holders = this.#open.get(message.step) ?? new Map<number, WorkerHeld>();
    this.#open.set(message.step, holders.set(rank, message));
    const reports: StepReport[] = [];
    for (;;) {
      const next = this.#open.get(this.#committed + 1);
      if (!next || next.size < ranks) return reports;
      this.#committed++;
      this.#open.delete(this.#committed);
      reports.push(summarise(this.#committed, [...next.values()]));
    }
  }
}

function summarise(step: number, held: readonly WorkerHeld[]): StepReport {
  const slowest = (field: keyof WorkerHeld["timing"]) => Math.max(...held.map(({ timing }) => timing[field]));
  return {
    step,
    tail: held[0]?.tail ?? { loss: 0, correct: 0, samples: 0, plan: 0, overflowed: 0 },
    timing: {
      dataMs: slowest("dataMs"),
      computeMs: slowest("computeMs"),
      communicationMs: slowest("communicationMs"),
      optimizerMs: slowest("optimizerMs"),
    },
    memoryBytes: Math.max(...held.map(({ memoryBytes }) => memoryBytes)),
  };
}
