/**
 * Copies of the state that are due as checkpoints, kept until the coordinator says that they are on disk.
 *
 *     due -> under way -> handed over -> (saved: gone)
 *      ^---------+-------------+  interrupted: the coordinator may have lost what it had
 *
 * A disk or a coordinator that is slow must not fill the memory, and training does not wait for it: beyond 64 MiB two are kept, and for a third the oldest that
 * is not under way is let go. Their buffers are used again, so that a checkpoint of the usual size allocates nothing. A buffer is free only when nobody reads it
 * any more: one that is let go while it is under way is free once its upload has ended.
 */
import type { RunProgress } from "@ringmaster/protocol";

export interface Snapshot {
  /** Steps done. */
  readonly step: number;
  readonly stateId: string;
  readonly progress: RunProgress;
  /** The state as it travels, from {@link SnapshotQueue.buffer}; the queue's from `add` on. */
  readonly bytes: Uint8Array;
  readonly stateHash: string;
  /** How long training waited for the copy. */
  readonly pauseMs: number;
}

const leastKept = 2;

export class SnapshotQueue {
  /** Ascending by step. */
  #kept: Snapshot[] = [];
  readonly #handedOver = new Set<Snapshot>();
  #underWay: Snapshot | undefined;
  #free: Uint8Array | undefined;
  readonly #mostBytes: number;

  /** @param mostBytes of all that is kept; two are, whatever their size */
  constructor(mostBytes = 64 * 2 ** 20) {
    this.#mostBytes = mostBytes;
  }

  /** Steps of what is kept, ascending. */
  get pending(): readonly number[] {
    return this.#kept.map(({ step }) => step);
  }

  /** A buffer of this size to copy a state into: one used before, if there is one. Its contents are undefined. */
  buffer(bytes: number): Uint8Array {
    const free = this.#free?.length === bytes ? this.#free : undefined;
    // One of another size is of no use any more: the state's size does not change within a run.
    this.#free = undefined;
    return free ?? new Uint8Array(bytes);
  }

  /** A state that is kept already (its boundary is worked again after a regrouping) is not taken twice. */
  add(snapshot: Snapshot): void {
    if (this.#kept.some(({ step, stateId }) => step === snapshot.step && stateId === snapshot.stateId)) {
      this.#release(snapshot);
      return;
    }
    this.#drop(({ step }) => step === snapshot.step);
    this.#kept = [...this.#kept, snapshot].sort((a, b) => a.step - b.step);
    while (this.#kept.length > leastKept && this.#kept.length * snapshot.bytes.length > this.#mostBytes) {
      const oldest = this.#kept.find((each) => each !== this.#underWay);
      this.#drop((each) => each === oldest);
    }
  }

  /** The one to upload now, which is under way from here on; undefined while another is, or when none is due. Oldest first. */
  next(): Snapshot | undefined {
    if (this.#underWay) return undefined;
    this.#underWay = this.#kept.find((each) => !this.#handedOver.has(each));
    return this.#underWay;
  }

  /** The upload under way is whole: nobody reads its buffer any more. */
  uploaded(): void {
    const snapshot = this.#underWay;
    if (!snapshot) return;
    this.#underWay = undefined;
    if (this.#kept.includes(snapshot)) this.#handedOver.add(snapshot);
    else this.#release(snapshot);
  }

  /**
   * The connection is lost, or the coordinator is another: everything that is kept is due again. Not before an upload under way has ended (rejected): its
   * buffer may be free from here on.
   */
  interrupted(): void {
    this.uploaded();
    this.#handedOver.clear();
  }

  /** The checkpoint of this step is on disk: neither it nor an older one is needed. */
  saved(step: number): void {
    this.#drop((each) => each.step <= step);
  }

  /** The world went back to this step: later states are no part of its history. */
  rewind(step: number): void {
    this.#drop((each) => each.step > step);
  }

  #drop(which: (snapshot: Snapshot) => boolean): void {
    const dropped = this.#kept.filter(which);
    this.#kept = this.#kept.filter((each) => !dropped.includes(each));
    for (const snapshot of dropped) {
      this.#handedOver.delete(snapshot);
      if (snapshot !== this.#underWay) this.#release(snapshot);
    }
  }

  #release({ bytes }: Snapshot): void {
    this.#free = bytes;
  }
}
