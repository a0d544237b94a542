/**
 * The run folder's disk: journal, checkpoints, metrics. It outlives every coordinator. What a coordinator was writing when it died is there or not; a write to a
 * full disk fails; a checkpoint may be found torn.
 */
import type { CheckpointFacts, MembershipRecord, StepReport } from "@ringmaster/coordinator";
import type { Millis } from "@ringmaster/protocol";
import type { Process } from "./process.ts";
import type { Random } from "./random.ts";
import type { VirtualTime } from "./virtual-time.ts";

export interface JournalContents {
  readonly record: MembershipRecord | null;
  readonly usedGeneration: number;
  readonly checkpoint: { readonly step: number; readonly stateId: string; readonly stateHash: string } | null;
}

export interface StoredCheckpoint {
  readonly facts: CheckpointFacts;
  /** What stands for its tensors. */
  readonly state: number;
  /** Its checksums do not fit. */
  isTorn: boolean;
}

export interface Metrics {
  readonly steps: StepReport[];
  /** `after`: the last step whose row stands before it. */
  readonly evaluated: { readonly step: number; readonly split: "validation" | "test"; readonly after: number }[];
}

export type WriteResult = "written" | "full" | "fenced";

export class Disk {
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #flushMs: Millis;
  #epoch = 0;
  #journal: JournalContents = { record: null, usedGeneration: 0, checkpoint: null };
  readonly checkpoints = new Map<number, StoredCheckpoint>();
  usedPlans = 0;
  /** What the metrics file holds, in order. */
  metrics: Metrics = { steps: [], evaluated: [] };
  isFull = false;

  constructor(time: VirtualTime, random: Random, flushMs: Millis) {
    this.#time = time;
    this.#random = random;
    this.#flushMs = flushMs;
  }

  get journal(): JournalContents {
    return this.#journal;
  }

  /** Another coordinator takes the journal over. @returns its epoch */
  open(): number {
    return ++this.#epoch;
  }

  isOwner(epoch: number): boolean {
    return epoch === this.#epoch;
  }

  /** @param done called unless the process is dead by then */
  writeJournal(
    owner: Process,
    epoch: number,
    change: Partial<JournalContents>,
    done: (result: WriteResult) => void,
  ): void {
    this.#flush(
      owner,
      this.#flushMs,
      () => {
        if (epoch !== this.#epoch) return "fenced";
        if (this.isFull) return "full";
        this.#journal = { ...this.#journal, ...change };
        return "written";
      },
      done,
    );
  }

  writeCheckpoint(
    owner: Process,
    checkpoint: StoredCheckpoint,
    takesMs: Millis,
    done: (result: WriteResult) => void,
  ): void {
    this.#flush(
      owner,
      takesMs,
      () => {
        if (this.isFull) return "full";
        this.checkpoints.set(checkpoint.facts.step, checkpoint);
        return "written";
      },
      done,
    );
  }

  /** The newest checkpoint that is whole. @param before only older ones count; default: all do */
  newest(before = Number.POSITIVE_INFINITY): StoredCheckpoint | null {
    const whole = [...this.checkpoints.values()].filter(({ facts, isTorn }) => !isTorn && facts.step < before);
    return whole.reduce<StoredCheckpoint | null>(
      (best, each) => (best === null || each.facts.step > best.facts.step ? each : best),
      null,
    );
  }

  #flush(owner: Process, takesMs: Millis, write: () => WriteResult, done: (result: WriteResult) => void): void {
    const delayMs = takesMs * (0.5 + this.#random.unit());
    // The kernel ends what it has begun, whether or not its process is stopped; where that has died meanwhile, chance has it.
    this.#time.after(delayMs, () => {
      if (!owner.isAlive) {
        if (this.#random.chance(0.5)) write();
        return;
      }
      const result = write();
      owner.receive(() => done(result));
    });
  }
}
