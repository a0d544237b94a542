/** The shell of a rank: carries out what the core says, with its line to the coordinator, compute threads and the ring. It decides nothing. */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { BackendOptions, Device, NumericsFingerprint } from "@ringmaster/backend";
import { listenForRing, type RingListener } from "@ringmaster/collective";
import type { ImageDataset } from "@ringmaster/data";
import {
  type CoordinatorLoad,
  encodeControl,
  isBulk,
  maxAboutBytes,
  maxErrorChars,
  maxLabelChars,
  maxReasonChars,
  maxSeats,
  parseBulk,
  parseCoordinatorMessage,
  type RunConfig,
  shorten,
} from "@ringmaster/protocol";
import { prepareData } from "@ringmaster/training";
import type { ControlLink } from "@ringmaster/transport";
import { startComputeSide } from "./compute-side.ts";
import { CoordinatorLine, lineTiming } from "./coordinator-line.ts";
import { copyFromPeer } from "./copy-from-peer.ts";
import { seedProgress } from "./progress.ts";
import { type Parts, SeatedRank } from "./seated-rank.ts";
import { SnapshotUploads } from "./snapshot-uploads.ts";
import { hashState, restoreState, StateReceiver, stateBytes, stateParts } from "./state-transfer.ts";
import { WorkerCore } from "./worker-core.ts";
import { explain, WorkerError } from "./worker-error.ts";
import type { WorkerEffect, WorkerInput } from "./worker-io.ts";

export interface WorkerOptions {
  /**
   * Connects with the coordinator; called again after every loss. A rejection with TransportError COORDINATOR_UNREACHABLE, or because the signal was aborted, is
   * passing; any other ends the worker. The first one does in any case.
   */
  readonly connect: (signal: AbortSignal) => Promise<ControlLink>;
  /** How long it goes on without a coordinator. Default 600,000. */
  readonly patienceMs?: number;
  readonly configPath: string;
  readonly configHash: string;
  readonly dataset: ImageDataset;
  readonly threads: number;
  readonly device: Device;
  readonly computeOn: Required<BackendOptions>;
  readonly fingerprint: NumericsFingerprint;
  /** The run's token; the ring's links are proven with keys derived from it. */
  readonly token: string;
  /** Where peers reach this rank; undefined in a world of one process, which has no peers. */
  readonly ringHost: string | undefined;
  readonly log: WorkerLog;
  /** Aborted when it is asked to leave (SIGTERM): it stays until others have its seats. */
  readonly signal: AbortSignal;
  /** Aborted when nobody watches over it any more: it ends at once. */
  readonly orphaned?: AbortSignal;
  /** It was admitted, and is prepared. */
  readonly onJoined: () => void;
}

export interface WorkerLog {
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface WorkerEnd {
  readonly exitCode: number;
  readonly code: string;
  readonly message: string;
}

type Effect<Type extends WorkerEffect["type"]> = Extract<WorkerEffect, { type: Type }>;

/** Links of different runs differ by their token already; the ring's name only keeps its keys apart from other uses of the token. */
const ringName = "ring";

/** Joins a run and works until the run or this worker's part in it ends. Leaves nothing running. */
export async function runWorker(options: WorkerOptions): Promise<WorkerEnd> {
  const { token, ringHost } = options;
  const listener =
    ringHost === undefined ? undefined : await listenForRing({ host: ringHost, port: 0, secret: token, run: ringName });
  try {
    return await new Promise((resolve) => new WorkerShell(options, listener, resolve).join());
  } finally {
    await listener?.close();
  }
}

class WorkerShell {
  readonly #options: WorkerOptions;
  readonly #listener: RingListener | undefined;
  readonly #resolve: (end: WorkerEnd) => void;
  readonly #core: WorkerCore;
  readonly #line: CoordinatorLine;
  readonly #uploads = new SnapshotUploads();
  #workerId: string = randomUUID();
  #prepared: Parts | undefined;
  #preparation = Promise.resolve();
  /** In the present generation. */
  #seated: SeatedRank | undefined;
  /** What is done for the present generation, until the next: copying, loading, linking. */
  #underWay = new AbortController();
  /** Where the bytes of a checkpoint that is being loaded go. */
  #incoming: { readonly load: CoordinatorLoad; readonly receiver: StateReceiver } | undefined;
  readonly #givenUp = new AbortController();
  #ended = false;

  constructor(options: WorkerOptions, listener: RingListener | undefined, resolve: (end: WorkerEnd) => void) {
    this.#options = options;
    this.#listener = listener;
    this.#resolve = resolve;
    const { configHash, dataset, device, fingerprint, threads, ringHost = "localhost" } = options;
    this.#core = new WorkerCore({
      configHash,
      datasetHash: dataset.contentHash,
      device,
      fingerprint,
      threads,
      host: hostname(),
      pid: process.pid,
      ring: { host: ringHost, port: listener?.port ?? 0 },
    });
    this.#line = new CoordinatorLine({
      connect: options.connect,
      patienceMs: options.patienceMs ?? lineTiming.patienceMs,
      events: {
        up: () => this.#input({ type: "connected", workerId: this.#workerId }),
        message: (bytes) => this.#receive(bytes),
        down: (message) => {
          this.#uploads.disconnected();
          this.#input({ type: "disconnected", message });
        },
        refused: (error) => this.#fail(error),
        over: (message) => this.#input({ type: "patienceOver", message }),
        heartbeat: () =>
          encodeControl({
            type: "WorkerHeartbeat",
            sentAtMs: Math.max(0, performance.now()),
            busyMs: Math.max(0, this.#prepared?.compute.busyMs() ?? 0),
          }),
      },
    });
  }

  join(): void {
    const { signal, orphaned } = this.#options;
    const whenAborted = (asked: AbortSignal, type: "terminate" | "orphaned") => {
      const tell = () => this.#input({ type, reason: shorten(String(asked.reason ?? "asked to end"), maxReasonChars) });
      if (asked.aborted) tell();
      else asked.addEventListener("abort", tell, { once: true, signal: this.#givenUp.signal });
    };
    if (orphaned) whenAborted(orphaned, "orphaned");
    whenAborted(signal, "terminate");
    if (!this.#ended) this.#line.start();
  }

  #receive(bytes: Uint8Array): void {
    try {
      if (isBulk(bytes)) return this.#receivePart(bytes);
      const message = parseCoordinatorMessage(bytes);
      if (message.type === "CoordinatorLoad") this.#expectState(message);
      this.#input({ type: "coordinator", message });
      // The core may have hung up on it.
      if (message.type === "CoordinatorWelcome") this.#line.welcomed();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The bytes of a checkpoint follow its message, whether or not this rank can take it in at once. */
  #expectState(load: CoordinatorLoad): void {
    const { source } = load;
    this.#incoming = undefined;
    if (source.kind === "seed" || !this.#prepared) return;
    const expected = stateBytes(this.#prepared.compute.tensors);
    if (source.totalBytes === expected) {
      this.#incoming = { load, receiver: new StateReceiver(expected) };
      return;
    }
    const advice = "the checkpoint is of another model or optimizer than the config's";
    const found = `expected a state of ${expected} bytes, found ${source.totalBytes}: ${advice}`;
    this.#fail(new WorkerError("STATE_MALFORMED", found), "run");
  }

  /** Parts of a load that was given up may still be on their way. */
  #receivePart(bytes: Uint8Array): void {
    const message = parseBulk(bytes);
    if (message.kind !== "state")
      throw new WorkerError("UNEXPECTED_MESSAGE", `expected parts of a state, found a ${message.kind}`);
    const { generation, step, byteOffset, payload } = message;
    if (this.#incoming?.load.generation !== generation || this.#incoming.load.step !== step) return;
    this.#incoming.receiver.add(byteOffset, payload);
  }

  #input(input: WorkerInput): void {
    for (const effect of this.#core.handle(input)) this.#perform(effect);
  }

  #fail(error: unknown, concerns: "run" | "worker" = "worker"): void {
    const { code, message } = explain(error);
    this.#input({
      type: "failed",
      concerns,
      code: shorten(code, maxLabelChars),
      message: shorten(message, maxErrorChars),
    });
  }

  #perform(effect: WorkerEffect): void {
    switch (effect.type) {
      case "send":
        this.#line.send(encodeControl(effect.message));
        if (effect.message.type === "WorkerReady") this.#options.onJoined();
        return;
      case "prepare":
        this.#preparation = this.#prepare(effect.config).catch((error: unknown) => this.#fail(error));
        return;
      case "stop":
        return this.#stop(effect.generation);
      case "copy":
        return this.#carryOut((signal) => this.#copy(effect, signal));
      case "load":
        this.#listener?.offerState(undefined);
        return this.#carryOut((signal) => this.#load(effect, signal));
      case "offer":
        return this.#offer(effect);
      case "rewind":
        return this.#uploads.rewind(effect.step);
      case "openRing":
        return this.#openRing(effect);
      case "step":
        return this.#seated?.step(effect);
      case "update":
        return this.#seated?.update(effect);
      case "evaluate":
        return this.#seated?.evaluate(effect);
      case "hash": {
        const { generation, progress } = effect;
        return this.#input({ type: "hashed", generation, hash: hashState(this.#parts.compute.tensors, progress) });
      }
      case "snapshot":
        return this.#uploads.take(this.#parts.compute.tensors, effect);
      case "upload": {
        const { link } = this.#line;
        if (link)
          this.#uploads.send({ link, generation: effect.generation }).catch((error: unknown) => this.#fail(error));
        return;
      }
      case "saved":
        return this.#uploads.saved(effect.step);
      case "drop":
        this.#cut();
        this.#uploads.clear();
        this.#workerId = randomUUID();
        return this.#input({ type: "connected", workerId: this.#workerId });
      case "hangUp":
        return this.#line.hangUp(effect.reason);
      case "log": {
        const { event, generation, step, message } = effect;
        return this.#options.log.info({ event, generation, step }, message);
      }
      case "end":
        return void this.#end(effect);
    }
  }

  async #prepare(config: RunConfig): Promise<void> {
    const { configPath, dataset, computeOn, threads } = this.#options;
    const data = prepareData(dataset, config);
    const compute = await startComputeSide({
      configPath,
      config,
      computeOn,
      dataset,
      data,
      threads,
      events: {
        bucketReady: (seat, bucket) => this.#seated?.bucketReady(seat, bucket),
        seatReady: (seat) => this.#seated?.seatReady(seat),
        folded: () => this.#seated?.held(),
        updated: () => this.#input({ type: "updated" }),
        failed: (error) => this.#fail(error),
      },
      signal: this.#givenUp.signal,
    });
    // It may have ended meanwhile: what is ready only now would be left running.
    if (this.#ended) return compute.close();
    this.#prepared = { config, data, compute };
    const { layout, tensors, probeHash, eagerBecause, seatCapacity } = compute;
    const shaped = ({ name, shape }: { name: string; shape: readonly number[] }) => ({ name, shape: [...shape] });
    this.#input({
      type: "prepared",
      stepsPerEpoch: data.sampler.stepsPerEpoch,
      ready: {
        layoutHash: layout.hash,
        seedHash: hashState(tensors, seedProgress(config.precision)),
        probeHash,
        eagerBecause,
        seatCapacity: Math.min(seatCapacity, maxSeats),
        tensors: { model: tensors.model.map(shaped), optimizer: tensors.optimizer.map(shaped) },
      },
    });
  }

  // Between generations.

  /** Does something that takes its time, in place of what is under way; `signal` is aborted once it does not count any more. */
  #carryOut(act: (signal: AbortSignal) => Promise<void>): void {
    this.#underWay.abort();
    this.#underWay = new AbortController();
    const { signal } = this.#underWay;
    act(signal).catch((error: unknown) => {
      if (!signal.aborted) this.#fail(error);
    });
  }

  #cut(): void {
    this.#underWay.abort();
    this.#seated?.cut();
    this.#seated = undefined;
    this.#listener?.offerState(undefined);
  }

  #stop(generation: number): void {
    this.#cut();
    this.#carryOut(async (signal) => {
      await this.#parts.compute.whenIdle();
      if (!signal.aborted) this.#input({ type: "quiet", generation });
    });
  }

  async #copy(effect: Effect<"copy">, signal: AbortSignal): Promise<void> {
    const { generation, step, stateId } = effect;
    const { tensors } = this.#parts.compute;
    this.#listener?.offerState(undefined);
    // A seed that is not wanted any more may still be being written.
    await this.#parts.compute.whenIdle();
    const { token: secret } = this.#options;
    const outcome = await copyFromPeer({ ...effect, secret, run: ringName, tensors, signal });
    if (outcome.kind === "failed") {
      const { peer, message } = outcome;
      return this.#input({ type: "copyFailed", generation, peer, message: shorten(message, maxErrorChars) });
    }
    const { peer, history } = outcome;
    const { progress, effect: planEffect } = peer;
    this.#input({ type: "copied", generation, step, stateId, progress, effect: planEffect, history });
  }

  async #load({ generation, step, stateId, source }: Effect<"load">, signal: AbortSignal): Promise<void> {
    const { compute } = this.#parts;
    const incoming = this.#incoming;
    await compute.whenIdle();
    if (signal.aborted) return;
    if (source.kind === "seed") await compute.initialise();
    else {
      const bytes = await incoming?.receiver.complete;
      if (signal.aborted || !bytes) return;
      restoreState(compute.tensors, bytes);
      this.#incoming = undefined;
    }
    if (!signal.aborted) this.#input({ type: "loaded", generation, step, stateId });
  }

  #offer({ generation, step, stateId, progress, effect, history }: Effect<"offer">): void {
    const state = encodeControl({ type: "PeerState", generation, step, stateId, progress, effect });
    let room = maxAboutBytes - state.length;
    // Where it is too much, the oldest are let go.
    const fits = (message: Uint8Array) => {
      room -= message.length;
      return room >= 0;
    };
    const newest = history.map(encodeControl).reverse().filter(fits).reverse();
    const parts = stateParts(this.#parts.compute.tensors);
    this.#listener?.offerState({ generation, step, about: [state, ...newest], parts });
  }

  #openRing(effect: Effect<"openRing">): void {
    this.#listener?.offerState(undefined);
    this.#carryOut((signal) => {
      const seated = new SeatedRank(this.#parts, effect, {
        listener: this.#listener,
        secret: this.#options.token,
        run: ringName,
        signal,
        input: (input) => this.#input(input),
        failed: (error) => this.#fail(error),
      });
      this.#seated = seated;
      return seated.open();
    });
  }

  async #end({ exitCode, code, message }: WorkerEnd): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    const { log } = this.#options;
    if (exitCode === 0) log.info({ code }, message);
    else log.error({ code, step: this.#core.standing.step }, message);
    this.#givenUp.abort();
    this.#underWay.abort();
    await this.#preparation;
    if (exitCode === 0) await this.#seated?.close();
    else this.#seated?.cut();
    await this.#prepared?.compute.close();
    this.#line.close(message);
    this.#resolve({ exitCode, code, message });
  }

  get #parts(): Parts {
    if (!this.#prepared) throw new Error("a worker works only once it is prepared");
    return this.#prepared;
  }
}
