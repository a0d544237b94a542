/** The shell of the coordinator: sockets, timers, the journal and the run folder, as the core says. It decides nothing. */
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import type { CheckpointStore, LoadedCheckpoint } from "@ringmaster/checkpoint";
import {
  encodeControl,
  isBulk,
  ProtocolError,
  parseBulk,
  parseWorkerMessage,
  type RunConfig,
} from "@ringmaster/protocol";
import {
  type ControlLink,
  type ListenOptions,
  listenForWorkers,
  TransportError,
  type WorkerListener,
} from "@ringmaster/transport";
import { CoordinatorCore } from "./coordinator-core.ts";
import { CoordinatorError } from "./coordinator-error.ts";
import type {
  CheckpointFacts,
  Connection,
  CoordinatorEffect,
  CoordinatorInput,
  CoordinatorOptions,
  RunEvent,
} from "./coordinator-io.ts";
import { IncomingStates } from "./incoming-states.ts";
import { type Journal, type JournalContents, JournalError } from "./journal/journal.ts";
import type { MembershipRecord } from "./membership.ts";
import { OutgoingStates } from "./outgoing-states.ts";
import { resumePoint } from "./resume-point.ts";
import type { Balance } from "./seating.ts";
import { mostPlans, shellTiming } from "./shell-timing.ts";

export interface RunCoordinatorOptions {
  readonly ranks: number;
  readonly configHash: string;
  readonly datasetHash: string;
  readonly configFor: (threads: number) => RunConfig;
  /** The run's; it is closed with the end. */
  readonly journal: Journal;
  readonly store: CheckpointStore;
  /** The newest good checkpoint, of a run that goes on. */
  readonly resume: LoadedCheckpoint | null;
  /** The run's coordinator died, and this one takes its workers back: what the journal does not say. `committed`: steps whose metrics are on disk. */
  readonly recover: {
    readonly committed: number;
    readonly evaluated: readonly { readonly step: number; readonly split: string }[];
  } | null;
  /** Where workers come from: a socket behind a token, or the one worker in this process. */
  readonly workers:
    | {
        readonly kind: "listen";
        readonly host: string;
        readonly port: number;
        readonly token: string;
        readonly onListening: (listener: WorkerListener) => void;
      }
    | { readonly kind: "memory"; readonly link: ControlLink; readonly onListening: () => void };
  readonly balance?: Balance;
  readonly samplesOf?: CoordinatorOptions["samplesOf"];
  /** Called for everything that a person or a file may want to know, in order. */
  readonly onEvent: (event: RunEvent) => void;
  /** Up to which step what `onEvent` was told is on disk. */
  readonly keptThrough: () => number;
  /** Puts it there now: whoever goes on from a checkpoint finds the metrics before it. Never rejects. */
  readonly keepNow: () => Promise<unknown>;
  /** Aborted to stop the run after the step under way, with a checkpoint; `hurry`: without waiting for a disk that refuses it. */
  readonly stop: AbortSignal;
  readonly hurry: AbortSignal;
}

export interface CoordinatorEnd {
  readonly exitCode: number;
  readonly code: string;
  readonly message: string;
}

const { heartbeatMs, tickMs, farewellMs, journalRetryMs } = shellTiming;
/** How long a coordinator that takes another's place waits for its port. */
const portPatienceMs = 5000;
const portRetryMs = 50;

/**
 * Leads a run from the first worker's hello to its end.
 * @throws TransportError when it cannot listen; JournalError when the journal cannot be written
 */
export async function runCoordinator(options: RunCoordinatorOptions): Promise<CoordinatorEnd> {
  const { workers, onEvent, recover, journal } = options;
  const shell = new CoordinatorShell(options);
  let listener: WorkerListener | undefined;
  let end: CoordinatorEnd | undefined;
  try {
    // The numbers of this coordinator's plans are used before anyone hears of one.
    await journal.write({ plans: journal.found.plans + mostPlans });
    if (workers.kind === "memory") {
      shell.accept(workers.link);
      workers.onListening();
    } else {
      const address = { host: workers.host, port: workers.port, token: workers.token };
      const onLink = (link: ControlLink) => shell.accept(link);
      const onRefused = (peer: string, reason: string) =>
        onEvent({ type: "refused", peer, code: "TOKEN_REFUSED", message: reason });
      listener = await listenAgain({ ...address, onLink, onRefused }, recover ? portPatienceMs : 0);
      workers.onListening(listener);
    }
    end = await shell.end;
    return end;
  } finally {
    shell.rest();
    await listener?.close();
    // Once a run has ended in order nobody takes its workers back: what goes on from here goes on from a checkpoint.
    await journal.close({ remove: end !== undefined && end.code !== "REPLACED" }).catch((error: Error) => {
      onEvent({ type: "note", line: error.message });
    });
  }
}

/** The port of a coordinator that died may be held a moment longer, by what it left or by a worker that dials it. */
async function listenAgain(options: ListenOptions, patienceMs: number): Promise<WorkerListener> {
  const deadlineMs = performance.now() + patienceMs;
  for (;;) {
    try {
      return await listenForWorkers(options);
    } catch (error) {
      const isTaken = error instanceof TransportError && error.code === "PORT_TAKEN";
      if (!isTaken || performance.now() > deadlineMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, portRetryMs));
    }
  }
}

class CoordinatorShell {
  readonly #options: Omit<RunCoordinatorOptions, "resume">;
  readonly #core: CoordinatorCore;
  readonly #links = new Map<Connection, ControlLink>();
  /** Where the process at the other end runs. */
  readonly #processes = new Map<Connection, { readonly host: string; readonly pid: number }>();
  readonly #states: IncomingStates;
  readonly #outgoing: OutgoingStates;
  readonly #timers: NodeJS.Timeout[];
  #connections = 0;
  #kept = 0;
  #work = Promise.resolve();
  #isOver = false;
  #resolve: (end: CoordinatorEnd) => void = () => {};
  #onLastClosed: () => void = () => {};
  readonly end: Promise<CoordinatorEnd>;

  constructor({ resume, ...options }: RunCoordinatorOptions) {
    this.#options = options;
    const { ranks, configHash, datasetHash, configFor, store, recover, balance, samplesOf } = options;
    const { found, epoch } = options.journal;
    this.#core = new CoordinatorCore({
      ...{ ranks, configHash, datasetHash, configFor, epoch },
      ...(balance && { balance }),
      ...(samplesOf && { samplesOf }),
      usedGeneration: found.usedGeneration,
      usedPlans: found.plans,
      recovered: recover && { ...recover, record: found.record, recordedStep: found.checkpoint?.step ?? 0 },
      resume: resume && resumePoint(resume, found.checkpoint),
      now: performance.now(),
    });
    this.#states = new IncomingStates((step, stateId) => this.#input({ type: "stateArrived", step, stateId }));
    const onUnusable = (step: number, error: unknown) => this.#afterOther(() => this.#fallBack(step, error));
    this.#outgoing = new OutgoingStates({ store, resume, onUnusable });
    this.end = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#timers = [setInterval(() => this.#beat(), heartbeatMs), setInterval(() => this.#tick(), tickMs)];
    for (const signal of [options.stop, options.hurry]) {
      const stop = () => this.#input({ type: "stop", reason: String(signal.reason ?? "stopped") });
      if (signal.aborted) setImmediate(stop);
      else signal.addEventListener("abort", stop, { once: true });
    }
  }

  accept(link: ControlLink): void {
    const connection = this.#connections++;
    this.#links.set(connection, link);
    link.listen({
      message: (bytes) => this.#receive(connection, bytes),
      closed: (reason) => {
        const process = this.#processes.get(connection);
        this.#forget(connection);
        this.#input({ type: "closed", connection, reason, isDead: process !== undefined && isDeadHere(process) });
        if (this.#links.size === 0) this.#onLastClosed();
      },
    });
  }

  /** Beats no more. */
  rest(): void {
    this.#isOver = true;
    for (const timer of this.#timers) clearInterval(timer);
  }

  #beat(): void {
    const heartbeat = encodeControl({ type: "CoordinatorHeartbeat", sentAtMs: performance.now() });
    for (const link of this.#links.values()) link.send(heartbeat);
  }

  #tick(): void {
    if (this.#options.journal.isReplaced())
      return this.#input({ type: "replaced", message: "another coordinator has taken this run over" });
    const kept = Math.max(0, this.#options.keptThrough());
    if (kept !== this.#kept) {
      this.#kept = kept;
      this.#input({ type: "kept", step: kept });
    }
    this.#input({ type: "tick" });
  }

  #receive(connection: Connection, bytes: Uint8Array): void {
    try {
      if (isBulk(bytes)) return this.#states.receive(connection, parseBulk(bytes));
      const message = parseWorkerMessage(bytes);
      if (message.type === "WorkerHello") this.#processes.set(connection, { host: message.host, pid: message.pid });
      this.#input({ type: "message", connection, message });
    } catch (error) {
      if (!(error instanceof ProtocolError) && !(error instanceof CoordinatorError)) throw error;
      this.#input({ type: "malformed", connection, code: error.code, message: error.message });
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
        return void this.#outgoing.send(effect, () => this.#links.get(effect.connection));
      case "close": {
        const link = this.#links.get(effect.connection);
        this.#forget(effect.connection);
        return link?.close(effect.reason);
      }
      case "record":
        return void this.#record(effect.record, effect.usedGeneration);
      case "receiveState":
        return this.#announce(effect.connection, effect.totalBytes, effect.facts);
      case "writeCheckpoint":
        return this.#afterOther(() => this.#save(effect.step));
      case "forgetState":
        return this.#states.forget(effect.step);
      case "event":
        return this.#options.onEvent(effect.event);
      case "end":
        return void this.#end(effect);
    }
  }

  /** Checkpoints are written and given up one after another, and the last before the end. */
  #afterOther(work: () => Promise<void>): void {
    this.#work = this.#work.then(work);
  }

  #forget(connection: Connection): void {
    this.#links.delete(connection);
    this.#processes.delete(connection);
    this.#states.closed(connection);
  }

  #announce(connection: Connection, totalBytes: number, facts: CheckpointFacts | null): void {
    try {
      this.#states.announce(connection, totalBytes, facts);
    } catch (error) {
      if (!(error instanceof CoordinatorError) || error.code !== "NO_MEMORY") throw error;
      this.#input({ type: "failed", code: error.code, message: error.message });
    }
  }

  async #record(record: MembershipRecord, usedGeneration: number): Promise<void> {
    if (await this.#write({ record, usedGeneration })) this.#input({ type: "recorded" });
  }

  /** Tries until it is in the journal. @returns false: the run is over, or another coordinator's */
  async #write(change: Partial<JournalContents>): Promise<boolean> {
    for (let isTold = false; !this.#isOver; ) {
      try {
        await this.#options.journal.write(change);
        return true;
      } catch (error) {
        if (!(error instanceof JournalError)) throw error;
        if (error.code === "FENCED") {
          this.#input({ type: "replaced", message: error.message });
          return false;
        }
        if (!isTold) this.#options.onEvent({ type: "note", line: `${error.message}; trying again each second` });
        isTold = true;
        await new Promise((resolve) => setTimeout(resolve, journalRetryMs));
      }
    }
    return false;
  }

  async #save(step: number): Promise<void> {
    const state = this.#states.of(step);
    if (!state) {
      const failure = { code: "STATE_GONE", message: "its bytes are here no longer", isRetryable: false };
      return this.#input({ type: "saveFailed", step, failure });
    }
    const { store, configHash, datasetHash } = this.#options;
    const { facts, bytes } = state;
    const { stateId, progress, layoutHash, stateHash, config, pauseMs } = facts;
    try {
      const { model, optimizer } = this.#states.tensors(state);
      const { seed, seats } = config;
      const record = {
        ...{ layoutHash, configHash, datasetHash, seed, seats, stateHash },
        progress: { ...progress },
        optimizer: { kind: config.optimizer.kind },
      };
      await this.#options.keepNow();
      const { folder } = await store.save({ step, model, optimizer, record });
      this.#outgoing.written(step);
      await this.#options.journal.write({ checkpoint: { step, stateId, stateHash } });
      this.#states.forget(step);
      const checkpoint = { step, stateId, progress, totalBytes: bytes.length, folder, pauseMs };
      this.#input({ type: "saved", checkpoint });
      const alsoKeep = progress.best ? [progress.best.step] : [];
      const { problem } = await store.retain({ last: config.checkpoint.keep, alsoKeep });
      if (problem) this.#options.onEvent({ type: "note", line: `older checkpoints stay: ${problem.message}` });
    } catch (error) {
      if (error instanceof JournalError && error.code === "FENCED")
        return this.#input({ type: "replaced", message: error.message });
      this.#input({ type: "saveFailed", step, failure: failureOf(error) });
    }
  }

  /** A checkpoint could not be loaded: the newest good one before it takes its place, in the journal first, then in the run. */
  async #fallBack(step: number, error: unknown): Promise<void> {
    // Another has taken its place meanwhile.
    if (this.#core.sourceStep !== step) return;
    const { code, message, isRetryable } = failureOf(error);
    const fail = (why: string) =>
      this.#input({ type: "failed", code, message: `the checkpoint of step ${step} is not usable: ${why}` });
    // It may be whole, and everything before it as far away: a run that ends can be resumed once it can be read.
    if (isRetryable) return fail(message);
    try {
      const { checkpoint } = await this.#options.store.loadNewest(step);
      const next = checkpoint && resumePoint(checkpoint, null);
      const entry = next && { step: next.step, stateId: next.stateId, stateHash: checkpoint.record.stateHash };
      if (await this.#write({ checkpoint: entry })) this.#input({ type: "sourceLost", step, message, next });
    } catch (failure) {
      fail(`${message}; and none before it: ${failureOf(failure).message}`);
    }
  }

  /** Workers hang up when they hear of the end; what is still being written is finished first. */
  async #end(end: CoordinatorEnd): Promise<void> {
    this.rest();
    await this.#work;
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

/** Whether a process of this machine has ended; of another machine's nothing is known. One that is dead and not yet waited for has ended too. */
function isDeadHere({ host, pid }: { readonly host: string; readonly pid: number }): boolean {
  if (host !== hostname() || pid === process.pid || process.platform !== "linux") return false;
  try {
    const state = /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1];
    return state === "Z" || state === "X";
  } catch (error) {
    return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ESRCH");
  }
}

function failureOf(error: unknown) {
  if (!(error instanceof Error)) return { code: "UNEXPECTED", message: String(error), isRetryable: true };
  const code = "code" in error && typeof error.code === "string" ? error.code : "UNEXPECTED";
  const isRetryable = !("isRetryable" in error) || error.isRetryable !== false;
  return { code, message: error.message, isRetryable };
}
