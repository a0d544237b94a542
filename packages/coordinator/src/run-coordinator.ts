/** The shell of the coordinator: sockets, timers and the run folder, as the core says. It decides nothing. */
import type { CheckpointStore, LoadedCheckpoint, NamedTensor } from "@ringmaster/checkpoint";
import {
  encodeControl,
  encodeStateHeader,
  isBulk,
  maxStatePartBytes,
  ProtocolError,
  parseBulk,
  parseWorkerMessage,
  type RunConfig,
  runProgressSchema,
  type WorkerReady,
} from "@ringmaster/protocol";
import { type ControlLink, listenForWorkers, type WorkerListener } from "@ringmaster/transport";
import { CoordinatorCore } from "./coordinator-core.ts";
import { CoordinatorError } from "./coordinator-error.ts";
import type { CheckpointFacts, Connection, CoordinatorEffect, CoordinatorInput, RunEvent } from "./coordinator-io.ts";

export interface RunCoordinatorOptions {
  readonly ranks: number;
  readonly configHash: string;
  readonly datasetHash: string;
  readonly configFor: (threads: number) => RunConfig;
  readonly store: CheckpointStore;
  readonly resume: LoadedCheckpoint | null;
  /** Where workers come from: a socket behind a token, or the one worker in this process. */
  readonly workers:
    | {
        readonly kind: "listen";
        readonly host: string;
        readonly port: number;
        readonly token: string;
        readonly onListening: (listener: WorkerListener) => void;
      }
    | { readonly kind: "memory"; readonly link: ControlLink };
  /** Called for everything that a person or a file may want to know, in order. */
  readonly onEvent: (event: RunEvent) => void;
  /** Aborted to stop the run after the step under way, with a checkpoint. */
  readonly stop: AbortSignal;
}

export interface CoordinatorEnd {
  readonly exitCode: number;
  readonly code: string;
  readonly message: string;
}

const heartbeatMs = 500;
/** How long workers may take to hang up after the run's end. */
const farewellMs = 2000;

/** Leads a run from the first worker's hello to its end. @throws TransportError when it cannot listen. */
export async function runCoordinator(options: RunCoordinatorOptions): Promise<CoordinatorEnd> {
  const shell = new CoordinatorShell(options);
  const { workers } = options;
  let listener: WorkerListener | undefined;
  try {
    if (workers.kind === "memory") shell.accept(workers.link);
    else {
      listener = await listenForWorkers({
        host: workers.host,
        port: workers.port,
        token: workers.token,
        onLink: (link) => shell.accept(link),
        onRefused: (peer, reason) => options.onEvent({ type: "refused", peer, code: "TOKEN_REFUSED", message: reason }),
      });
      workers.onListening(listener);
    }
    return await shell.end;
  } finally {
    shell.rest();
    await listener?.close();
  }
}

interface Incoming {
  readonly facts: CheckpointFacts;
  readonly bytes: Uint8Array;
  received: number;
}

class CoordinatorShell {
  readonly #options: RunCoordinatorOptions;
  readonly #core: CoordinatorCore;
  readonly #links = new Map<Connection, ControlLink>();
  readonly #incoming = new Map<Connection, Incoming>();
  readonly #timer: NodeJS.Timeout;
  #connections = 0;
  #saves = Promise.resolve();
  #resolve: (end: CoordinatorEnd) => void = () => {};
  #onLastClosed: () => void = () => {};
  readonly end: Promise<CoordinatorEnd>;

  constructor(options: RunCoordinatorOptions) {
    this.#options = options;
    const { resume } = options;
    this.#core = new CoordinatorCore({
      ranks: options.ranks,
      configHash: options.configHash,
      datasetHash: options.datasetHash,
      configFor: options.configFor,
      resume: resume && {
        step: resume.step,
        progress: runProgressSchema.parse(resume.record.progress),
        totalBytes: [...resume.model, ...resume.optimizer].reduce((sum, { data }) => sum + data.byteLength, 0),
        layoutHash: resume.record.layoutHash,
        tensors: { model: resume.model.map(shaped), optimizer: resume.optimizer.map(shaped) },
      },
    });
    this.end = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#timer = setInterval(() => this.#beat(), heartbeatMs);
    const stop = () => this.#input({ type: "stop", reason: String(options.stop.reason ?? "stopped") });
    if (options.stop.aborted) setImmediate(stop);
    else options.stop.addEventListener("abort", stop, { once: true });
  }

  accept(link: ControlLink): void {
    const connection = this.#connections++;
    this.#links.set(connection, link);
    link.listen({
      message: (bytes) => this.#receive(connection, bytes),
      closed: (reason) => {
        this.#links.delete(connection);
        this.#incoming.delete(connection);
        this.#input({ type: "closed", connection, reason });
        if (this.#links.size === 0) this.#onLastClosed();
      },
    });
  }

  /** Beats no more. */
  rest(): void {
    clearInterval(this.#timer);
  }

  #beat(): void {
    const heartbeat = encodeControl({ type: "CoordinatorHeartbeat", sentAtMs: performance.now() });
    for (const link of this.#links.values()) link.send(heartbeat);
    this.#input({ type: "tick" });
  }

  #receive(connection: Connection, bytes: Uint8Array): void {
    try {
      if (isBulk(bytes)) this.#receiveState(connection, bytes);
      else this.#input({ type: "message", connection, message: parseWorkerMessage(bytes) });
    } catch (error) {
      if (!(error instanceof ProtocolError) && !(error instanceof CoordinatorError)) throw error;
      this.#input({ type: "malformed", connection, code: error.code, message: error.message });
    }
  }

  #receiveState(connection: Connection, bytes: Uint8Array): void {
    const message = parseBulk(bytes);
    const incoming = this.#incoming.get(connection);
    if (message.kind !== "state" || !incoming)
      throw new CoordinatorError("UNEXPECTED_MESSAGE", `a ${message.kind} message that was not announced`);
    const { byteOffset, payload } = message;
    if (
      message.step !== incoming.facts.step ||
      byteOffset !== incoming.received ||
      byteOffset + payload.length > incoming.bytes.length
    ) {
      throw new CoordinatorError(
        "STATE_MALFORMED",
        `part ${byteOffset} of a state of which ${incoming.received} of ${incoming.bytes.length} bytes are here`,
      );
    }
    incoming.bytes.set(payload, byteOffset);
    incoming.received += payload.length;
    this.#saveWhenWhole(connection, incoming);
  }

  #saveWhenWhole(connection: Connection, incoming: Incoming): void {
    if (incoming.received < incoming.bytes.length) return;
    this.#incoming.delete(connection);
    this.#saves = this.#saves.then(() => this.#save(incoming));
  }

  async #save({ facts, bytes }: Incoming): Promise<void> {
    const { store, configHash, datasetHash } = this.#options;
    const { step, progress, layoutHash, stateHash, config } = facts;
    try {
      const { model, optimizer } = cut(bytes, facts.tensors);
      const { seed, seats } = config;
      const record = {
        layoutHash,
        configHash,
        datasetHash,
        seed,
        seats,
        progress: { ...progress },
        optimizer: { kind: config.optimizer.kind },
        stateHash,
      };
      const { folder } = await store.save({ step, model, optimizer, record });
      await store.retain({ last: config.checkpoint.keep, alsoKeep: progress.best ? [progress.best.step] : [] });
      this.#input({ type: "saved", step, folder });
    } catch (error) {
      this.#input({ type: "saveFailed", step, message: error instanceof Error ? error.message : String(error) });
    }
  }

  #input(input: CoordinatorInput): void {
    for (const effect of this.#core.handle(input, performance.now())) this.#perform(effect);
  }

  #perform(effect: CoordinatorEffect): void {
    switch (effect.type) {
      case "send":
        return this.#links.get(effect.connection)?.send(encodeControl(effect.message));
      case "sendState":
        return void this.#sendState(effect.connection, effect.generation);
      case "close":
        this.#links.get(effect.connection)?.close(effect.reason);
        this.#links.delete(effect.connection);
        this.#incoming.delete(effect.connection);
        return;
      case "receiveState": {
        const { checkpoint, totalBytes } = effect;
        const expected = [...checkpoint.tensors.model, ...checkpoint.tensors.optimizer].reduce(
          (sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1),
          0,
        );
        const pending = this.#incoming.get(effect.connection);
        if (totalBytes !== expected || pending) {
          const message = pending
            ? `a state of step ${checkpoint.step} before that of step ${pending.facts.step} was whole`
            : `a state of ${totalBytes} bytes, expected ${expected}`;
          return this.#input({ type: "malformed", connection: effect.connection, code: "STATE_MALFORMED", message });
        }
        const bytes = allocate(totalBytes);
        if (!bytes)
          return this.#input({
            type: "saveFailed",
            step: checkpoint.step,
            message: `no memory for a state of ${totalBytes} bytes`,
          });
        const incoming = { facts: checkpoint, bytes, received: 0 };
        this.#incoming.set(effect.connection, incoming);
        return this.#saveWhenWhole(effect.connection, incoming);
      }
      case "event":
        return this.#options.onEvent(effect.event);
      case "end":
        return void this.#end(effect);
    }
  }

  async #sendState(connection: Connection, generation: number): Promise<void> {
    const { resume } = this.#options;
    const link = this.#links.get(connection);
    if (!resume || !link) return;
    let byteOffset = 0;
    for (const { data } of [...resume.model, ...resume.optimizer]) {
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      for (let first = 0; first < bytes.length; first += maxStatePartBytes) {
        const part = bytes.subarray(first, first + maxStatePartBytes);
        await link.sendBulk(encodeStateHeader({ generation, step: resume.step, byteOffset }, part.length), part);
        byteOffset += part.length;
      }
    }
  }

  /** Workers hang up when they hear of the end; what is still being written is finished first. */
  async #end(end: CoordinatorEnd): Promise<void> {
    this.rest();
    await this.#saves;
    if (this.#links.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, farewellMs);
        this.#onLastClosed = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    for (const link of this.#links.values()) link.close(end.code);
    this.#resolve(end);
  }
}

function allocate(bytes: number): Uint8Array | undefined {
  try {
    return new Uint8Array(bytes);
  } catch {
    return undefined;
  }
}

const shaped = ({ name, shape }: NamedTensor) => ({ name, shape: [...shape] });

/** The tensors of a state that travelled as one run of float32. */
function cut(bytes: Uint8Array, tensors: WorkerReady["tensors"]): { model: NamedTensor[]; optimizer: NamedTensor[] } {
  let offset = bytes.byteOffset;
  const take = ({ name, shape }: { name: string; shape: readonly number[] }): NamedTensor => {
    const length = shape.reduce((a, b) => a * b, 1);
    const data = new Float32Array(bytes.buffer, offset, length);
    offset += data.byteLength;
    return { name, shape, data };
  };
  return { model: tensors.model.map(take), optimizer: tensors.optimizer.map(take) };
}
