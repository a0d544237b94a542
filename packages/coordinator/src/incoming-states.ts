/** States on their way from workers: put together as they arrive, and kept until they are written or nobody needs them. */
import type { NamedTensor } from "@ringmaster/checkpoint";
import type { BulkMessage } from "@ringmaster/protocol";
import { CoordinatorError } from "./coordinator-error.ts";
import type { CheckpointFacts, Connection } from "./coordinator-io.ts";

export interface IncomingState {
  readonly facts: CheckpointFacts;
  readonly bytes: Uint8Array;
}

/** `state` undefined: it is passed over. */
interface Incoming {
  readonly state: IncomingState | undefined;
  readonly totalBytes: number;
  received: number;
}

export class IncomingStates {
  readonly #onArrived: (step: number, stateId: string) => void;
  readonly #incoming = new Map<Connection, Incoming>();
  readonly #whole = new Map<number, IncomingState>();

  constructor(onArrived: (step: number, stateId: string) => void) {
    this.#onArrived = onArrived;
  }

  /** @throws CoordinatorError STATE_MALFORMED, NO_MEMORY */
  announce(connection: Connection, totalBytes: number, facts: CheckpointFacts | null): void {
    const pending = this.#incoming.get(connection);
    if (pending)
      throw new CoordinatorError(
        "STATE_MALFORMED",
        `a state was announced after ${pending.received} of ${pending.totalBytes} bytes of the one before`,
      );
    const expected = facts && floatsOf(facts) * 4;
    if (expected !== null && totalBytes !== expected)
      throw new CoordinatorError("STATE_MALFORMED", `a state of ${totalBytes} bytes, expected ${expected}`);
    const state = facts ? { facts, bytes: allocate(totalBytes) } : undefined;
    const incoming = { state, totalBytes, received: 0 };
    this.#incoming.set(connection, incoming);
    this.#whenWhole(connection, incoming);
  }

  /** @throws CoordinatorError UNEXPECTED_MESSAGE, STATE_MALFORMED */
  receive(connection: Connection, message: BulkMessage): void {
    const incoming = this.#incoming.get(connection);
    if (message.kind !== "state" || !incoming)
      throw new CoordinatorError("UNEXPECTED_MESSAGE", `a ${message.kind} message that was not announced`);
    const { byteOffset, payload, step } = message;
    const { state, received, totalBytes } = incoming;
    const isRight = byteOffset === received && byteOffset + payload.length <= totalBytes;
    if (!isRight || (state && step !== state.facts.step))
      throw new CoordinatorError(
        "STATE_MALFORMED",
        `part ${byteOffset} of a state of which ${received} of ${totalBytes} bytes are here`,
      );
    state?.bytes.set(payload, byteOffset);
    incoming.received += payload.length;
    this.#whenWhole(connection, incoming);
  }

  closed(connection: Connection): void {
    this.#incoming.delete(connection);
  }

  of(step: number): IncomingState | undefined {
    return this.#whole.get(step);
  }

  forget(step: number): void {
    this.#whole.delete(step);
  }

  /** The tensors of a state that travelled as one run of float32. */
  tensors({ facts, bytes }: IncomingState): { model: NamedTensor[]; optimizer: NamedTensor[] } {
    let offset = bytes.byteOffset;
    const take = ({ name, shape }: { name: string; shape: readonly number[] }): NamedTensor => {
      const data = new Float32Array(bytes.buffer, offset, floatsIn(shape));
      offset += data.byteLength;
      return { name, shape, data };
    };
    return { model: facts.tensors.model.map(take), optimizer: facts.tensors.optimizer.map(take) };
  }

  #whenWhole(connection: Connection, { state, received, totalBytes }: Incoming): void {
    if (received < totalBytes) return;
    this.#incoming.delete(connection);
    if (!state) return;
    const { step, stateId } = state.facts;
    this.#whole.set(step, state);
    this.#onArrived(step, stateId);
  }
}

const floatsIn = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

const floatsOf = ({ tensors }: CheckpointFacts): number =>
  [...tensors.model, ...tensors.optimizer].reduce((sum, { shape }) => sum + floatsIn(shape), 0);

function allocate(bytes: number): Uint8Array {
  try {
    return new Uint8Array(bytes);
  } catch (error) {
    const advice = "a checkpoint is put together in memory: lead the run where there is more of it";
    throw new CoordinatorError("NO_MEMORY", `no memory for a state of ${bytes} bytes; ${advice}`, { cause: error });
  }
}
