/** Checkpoints on their way to workers: each is read once for all who are sent it at the same time, and let go when nobody is. */
import type { CheckpointStore, LoadedCheckpoint } from "@ringmaster/checkpoint";
import { encodeStateHeader, maxStatePartBytes } from "@ringmaster/protocol";
import type { ControlLink } from "@ringmaster/transport";

interface Outgoing {
  /** null: it could not be loaded. */
  readonly state: Promise<LoadedCheckpoint | null>;
  receivers: number;
}

export interface OutgoingStatesOptions {
  readonly store: Pick<CheckpointStore, "load">;
  /** What was read to resume the run is sent as it is. */
  readonly resume: LoadedCheckpoint | null;
  /** Told once, however many wait for it. */
  readonly onUnusable: (step: number, error: unknown) => void;
}

export class OutgoingStates {
  readonly #options: Omit<OutgoingStatesOptions, "resume">;
  readonly #byStep = new Map<number, Outgoing>();

  constructor({ resume, ...options }: OutgoingStatesOptions) {
    this.#options = options;
    if (resume) this.#byStep.set(resume.step, { state: Promise.resolve(resume), receivers: 0 });
  }

  /** Resolves once all of it is sent; a link that closes meanwhile takes no more. @param linkOf asked once it is loaded */
  async send(
    at: { readonly generation: number; readonly step: number },
    linkOf: () => ControlLink | undefined,
  ): Promise<void> {
    const outgoing = this.#byStep.get(at.step) ?? this.#read(at.step);
    outgoing.receivers++;
    try {
      const state = await outgoing.state;
      const link = state ? linkOf() : undefined;
      if (state && link) await stream(state, at, link);
    } finally {
      outgoing.receivers--;
      if (outgoing.receivers === 0 && this.#byStep.get(at.step) === outgoing) this.#byStep.delete(at.step);
    }
  }

  /** The checkpoint of this step was written anew: who asks from here on is sent that. */
  written(step: number): void {
    this.#byStep.delete(step);
  }

  #read(step: number): Outgoing {
    const { store, onUnusable } = this.#options;
    const state = store.load(step).catch((error: unknown) => {
      onUnusable(step, error);
      return null;
    });
    const outgoing = { state, receivers: 0 };
    this.#byStep.set(step, outgoing);
    return outgoing;
  }
}

async function stream(
  { model, optimizer }: LoadedCheckpoint,
  at: { readonly generation: number; readonly step: number },
  link: ControlLink,
): Promise<void> {
  let byteOffset = 0;
  for (const { data } of [...model, ...optimizer]) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    for (let first = 0; first < bytes.length; first += maxStatePartBytes) {
      const part = bytes.subarray(first, first + maxStatePartBytes);
      await link.sendBulk(encodeStateHeader({ ...at, byteOffset }, part.length), part);
      byteOffset += part.length;
    }
  }
}
