/** Snapshots of a simulated worker's state on their way to the coordinator, one at a time, as packages/worker's snapshot-uploads.ts sends them; the queue is the real one. */
import type { RunProgress } from "@ringmaster/protocol";
import { SnapshotQueue } from "@ringmaster/worker";
import { type ControlTraffic, controlBytes } from "./messages.ts";
import type { End } from "./network.ts";

interface Taken {
  readonly progress: RunProgress;
  readonly stateId: string;
  readonly stateHash: string;
}

export class SnapshotUploads {
  readonly #queue = new SnapshotQueue();
  readonly #stateBytes: number;
  #to: { readonly generation: number; readonly end: End<ControlTraffic> } | undefined;
  #isSending = false;

  constructor(stateBytes: number) {
    this.#stateBytes = stateBytes;
  }

  /** Copies the state as it is now. */
  take(state: number, { progress, stateId, stateHash }: Taken): void {
    const bytes = this.#queue.buffer(8);
    new Float64Array(bytes.buffer)[0] = state;
    this.#queue.add({ step: progress.step, stateId, progress, bytes, stateHash, pauseMs: 0 });
  }

  /** This rank is the writer. */
  send(end: End<ControlTraffic> | undefined, generation: number): void {
    if (!end) return;
    this.#to = { generation, end };
    this.#next();
  }

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

  #next(): void {
    const to = this.#to;
    const snapshot = to && !this.#isSending ? this.#queue.next() : undefined;
    if (!to || !snapshot) return;
    this.#isSending = true;
    const { generation, end } = to;
    const { step, stateId, stateHash, progress, pauseMs, bytes } = snapshot;
    const about = { generation, step, stateId, stateHash, progress, pauseMs };
    end.send({ type: "WorkerState", ...about, totalBytes: this.#stateBytes }, controlBytes);
    // Read when it leaves: a buffer that is used again too early would show.
    const read = () => ({ type: "state" as const, generation, step, state: new Float64Array(bytes.buffer)[0] ?? 0 });
    end.sendBulk(read, this.#stateBytes, () => {
      this.#isSending = false;
      if (this.#to?.end === end) this.#queue.uploaded();
      else this.#queue.interrupted();
      this.#next();
    });
  }
}
