/** A run's state on its way between a worker and the coordinator, or a peer: float32 tensors, model then optimizer, one after another without gaps. */
import { createHash } from "node:crypto";
import { encodeStateHeader, maxStatePartBytes, type RunProgress, runProgressSchema } from "@ringmaster/protocol";
import { hashTensors, type StateTensor, type StateTensors } from "@ringmaster/training";
import type { ControlLink } from "@ringmaster/transport";
import { WorkerError } from "./worker-error.ts";

const inOrder = ({ model, optimizer }: StateTensors): readonly StateTensor[] => [...model, ...optimizer];

export function stateBytes(tensors: StateTensors): number {
  return inOrder(tensors).reduce((sum, { data }) => sum + data.byteLength, 0);
}

/** Copies the state as it travels; training may go on at once. @param target as long as the state, aligned for 32-bit words */
export function copyState(tensors: StateTensors, target: Uint8Array): void {
  const floats = new Float32Array(target.buffer, target.byteOffset, target.length / 4);
  let offset = 0;
  for (const { data } of inOrder(tensors)) {
    floats.set(data, offset);
    offset += data.length;
  }
}

/** Views of the state itself, in the order in which it travels. */
export function stateParts(tensors: StateTensors): readonly Uint8Array[] {
  return inOrder(tensors).map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

export async function sendState(
  link: ControlLink,
  at: { generation: number; step: number },
  bytes: Uint8Array,
): Promise<void> {
  for (let byteOffset = 0; byteOffset < bytes.length; byteOffset += maxStatePartBytes) {
    const part = bytes.subarray(byteOffset, byteOffset + maxStatePartBytes);
    await link.sendBulk(encodeStateHeader({ ...at, byteOffset }, part.length), part);
  }
}

/** Puts the parts of a state together as they arrive, in order. */
export class StateReceiver {
  readonly #bytes: Uint8Array;
  #received = 0;
  #done: (bytes: Uint8Array) => void = () => {};
  /** The whole state. */
  readonly complete: Promise<Uint8Array>;

  constructor(totalBytes: number) {
    this.#bytes = new Uint8Array(totalBytes);
    this.complete = new Promise((resolve) => {
      this.#done = resolve;
    });
    if (totalBytes === 0) this.#done(this.#bytes);
  }

  add(byteOffset: number, payload: Uint8Array): void {
    if (byteOffset !== this.#received || byteOffset + payload.length > this.#bytes.length) {
      const found = `bytes ${byteOffset} to ${byteOffset + payload.length}`;
      throw new WorkerError(
        "STATE_MALFORMED",
        `expected byte ${this.#received} of ${this.#bytes.length} of the state next, found ${found}`,
      );
    }
    this.#bytes.set(payload, byteOffset);
    this.#received += payload.length;
    if (this.#received === this.#bytes.length) this.#done(this.#bytes);
  }
}

/** Writes a received state into the flat buffers. */
export function restoreState(tensors: StateTensors, bytes: Uint8Array): void {
  const expected = stateBytes(tensors);
  if (bytes.length !== expected) {
    const advice = "the checkpoint is of another model or optimizer than the config's";
    throw new WorkerError("STATE_MALFORMED", `expected a state of ${expected} bytes, found ${bytes.length}: ${advice}`);
  }
  const floats = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  let offset = 0;
  for (const { data } of inOrder(tensors)) {
    data.set(floats.subarray(offset, offset + data.length));
    offset += data.length;
  }
}

/** One hash of the whole state: every tensor and the progress. */
export function hashState(tensors: StateTensors, progress: RunProgress): string {
  const canonical = JSON.stringify(runProgressSchema.parse(progress));
  return createHash("sha256")
    .update(hashTensors(inOrder(tensors)))
    .update(canonical)
    .digest("hex");
}
