/** Sends the coordinator the snapshots of the state that are due as checkpoints, one at a time, while training goes on. */
import { encodeControl, type RunProgress } from "@ringmaster/protocol";
import type { StateTensors } from "@ringmaster/training";
import type { ControlLink } from "@ringmaster/transport";
import { SnapshotQueue } from "./snapshot-queue.ts";
import { copyState, sendState, stateBytes } from "./state-transfer.ts";

interface Destination {
  readonly link: ControlLink;
  readonly generation: number;
}

export class SnapshotUploads {
  readonly #queue = new SnapshotQueue();
  #to: Destination | undefined;
  #isSending = false;

  /** Copies the state as it is now. */
  take(
    tensors: StateTensors,
    { progress, stateId, stateHash }: { progress: RunProgress; stateId: string; stateHash: string },
  ): void {
    const startedMs = performance.now();
    const bytes = this.#queue.buffer(stateBytes(tensors));
    copyState(tensors, bytes);
    const pauseMs = performance.now() - startedMs;
    this.#queue.add({ step: progress.step, stateId, progress, bytes, stateHash, pauseMs });
  }

  /** This rank is the writer. */
  async send(to: Destination): Promise<void> {
    this.#to = to;
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      while (this.#to && (await this.#sendNext(this.#to)));
    } finally {
      this.#isSending = false;
    }
  }

  /** What was sent may be lost with the connection. */
  disconnected(): void {
    this.#to = undefined;
    if (!this.#isSending) this.#queue.interrupted();
  }

  saved(step: number): void {
    this.#queue.saved(step);
  }

  rewind(step: number): void {
    this.#queue.rewind(step);
  }

  clear(): void {
    this.#queue.rewind(-1);
  }

  /** @returns whether there was one */
  async #sendNext({ link, generation }: Destination): Promise<boolean> {
    const snapshot = this.#queue.next();
    if (!snapshot) return false;
    const { step, stateId, stateHash, progress, pauseMs, bytes } = snapshot;
    const about = { generation, step, stateId, stateHash, totalBytes: bytes.length, progress, pauseMs };
    link.send(encodeControl({ type: "WorkerState", ...about }));
    await sendState(link, { generation, step }, bytes);
    if (this.#to?.link === link) this.#queue.uploaded();
    else this.#queue.interrupted();
    return true;
  }
}
