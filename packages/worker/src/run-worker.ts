/** The shell of a rank: carries out what the core says, with sockets, compute threads and the ring. It decides nothing. */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { BackendOptions, Device, NumericsFingerprint } from "@ringmaster/backend";
import { listenForRing, openRing, parityOf, type RingListener, type RingTransport } from "@ringmaster/collective";
import { expectedReceipt, type ImageDataset } from "@ringmaster/data";
import {
  type CoordinatorMessage,
  encodeControl,
  isBulk,
  maxErrorChars,
  maxLabelChars,
  parseBulk,
  parseCoordinatorMessage,
  shorten,
} from "@ringmaster/protocol";
import { type EvaluationSplit, type PreparedData, prepareData, readTail, tailFields } from "@ringmaster/training";
import type { ControlLink } from "@ringmaster/transport";
import { type ComputeSide, startComputeSide } from "./compute-side.ts";
import { readEvaluation } from "./reduced-evaluation.ts";
import { hashState, restoreState, StateReceiver, sendState, snapshot } from "./state-transfer.ts";
import { WorkerCore, type WorkerEffect, type WorkerInput } from "./worker-core.ts";
import { explain, WorkerError } from "./worker-error.ts";

export interface WorkerOptions {
  readonly link: ControlLink;
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
  /** Aborted on SIGTERM or when the supervisor is gone. */
  readonly signal: AbortSignal;
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

const heartbeatMs = 500;
/** A coordinator that says nothing for so long is gone. */
const silenceMs = 10_000;

/** Joins a run over `link` and works until the run or this worker's part in it ends. Leaves nothing running. */
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

/** Links of different runs differ by their token already; the ring's name only keeps its keys apart from other uses of the token. */
const ringName = "ring";

interface Round {
  readonly number: number;
  readonly buckets: readonly number[];
  readonly purpose:
    | { readonly kind: "step"; readonly step: number }
    | { readonly kind: "evaluation"; readonly split: EvaluationSplit };
  lastSeatMs: number;
}

class WorkerShell {
  readonly #options: WorkerOptions;
  readonly #listener: RingListener | undefined;
  readonly #resolve: (end: WorkerEnd) => void;
  readonly #core = new WorkerCore();
  #data: PreparedData | undefined;
  #compute: ComputeSide | undefined;
  #ring: RingTransport | undefined;
  #state: StateReceiver | undefined;
  #seats: readonly number[] = [];
  #generation = 0;
  #rounds = 0;
  #round: Round | undefined;
  #stepParity: 0 | 1 = 0;
  #heardMs = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #uploads = Promise.resolve();
  #preparation = Promise.resolve();
  readonly #givenUp = new AbortController();
  #ended = false;

  constructor(options: WorkerOptions, listener: RingListener | undefined, resolve: (end: WorkerEnd) => void) {
    this.#options = options;
    this.#listener = listener;
    this.#resolve = resolve;
  }

  join(): void {
    const { link, signal, configHash, dataset, device, fingerprint, threads } = this.#options;
    link.listen({
      message: (bytes) => this.#receive(bytes),
      closed: (reason) =>
        this.#input({ type: "coordinatorLost", message: reason || "the coordinator's connection is lost" }),
    });
    const host = this.#options.ringHost ?? "localhost";
    link.send(
      encodeControl({
        type: "WorkerHello",
        protocol: 1,
        workerId: randomUUID(),
        configHash,
        datasetHash: dataset.contentHash,
        device,
        fingerprint,
        threads,
        host: hostname(),
        pid: process.pid,
        ring: { host, port: this.#listener?.port ?? 0 },
      }),
    );
    this.#timer = setInterval(() => this.#beat(), heartbeatMs);
    const terminate = () => this.#input({ type: "terminate", reason: String(signal.reason ?? "asked to end") });
    if (signal.aborted) terminate();
    else signal.addEventListener("abort", terminate, { once: true });
  }

  #beat(): void {
    this.#options.link.send(encodeControl({ type: "WorkerHeartbeat", sentAtMs: Math.max(0, performance.now()) }));
    const silentMs = performance.now() - this.#heardMs;
    if (silentMs > silenceMs) {
      this.#input({
        type: "coordinatorLost",
        message: `the coordinator has said nothing for ${Math.round(silentMs)} ms`,
      });
    }
  }

  #receive(bytes: Uint8Array): void {
    this.#heardMs = performance.now();
    try {
      if (isBulk(bytes)) {
        const message = parseBulk(bytes);
        if (message.kind !== "state" || !this.#state)
          throw new WorkerError("UNEXPECTED_MESSAGE", `a ${message.kind} message that nobody asked for`);
        return this.#state.add(message.byteOffset, message.payload);
      }
      const message = parseCoordinatorMessage(bytes);
      if (message.type === "CoordinatorStart" && message.source.kind === "state")
        this.#state = new StateReceiver(message.source.totalBytes);
      this.#input({ type: "coordinator", message });
    } catch (error) {
      this.#fail(error);
    }
  }

  #input(input: WorkerInput): void {
    for (const effect of this.#core.handle(input)) this.#perform(effect);
  }

  #fail(error: unknown): void {
    const { code, message } = explain(error);
    this.#input({ type: "failed", code: shorten(code, maxLabelChars), message: shorten(message, maxErrorChars) });
  }

  #perform(effect: WorkerEffect): void {
    switch (effect.type) {
      case "send":
        return this.#options.link.send(encodeControl(effect.message));
      case "prepare":
        this.#preparation = this.#prepare(effect.start).catch((error: unknown) => this.#fail(error));
        return;
      case "step": {
        const { step, plan, lossScale } = effect;
        const update = effect.update && { ...effect.update, parity: this.#stepParity };
        const round = this.#openRound(this.#parts.compute.layout.stepBuckets, { kind: "step", step });
        this.#stepParity = parityOf(round);
        const foldInto = this.#ring ? null : parityOf(round);
        return this.#parts.compute.command({ type: "step", update, compute: { step, plan, lossScale, foldInto } });
      }
      case "update":
        return this.#parts.compute.command({
          type: "step",
          update: { ...effect.update, parity: this.#stepParity },
          compute: null,
        });
      case "evaluate": {
        const { compute } = this.#parts;
        const round = this.#openRound([compute.layout.evaluationBucket], { kind: "evaluation", split: effect.split });
        const foldInto = this.#ring ? null : parityOf(round);
        return compute.command({ type: "evaluate", split: effect.split, foldInto });
      }
      case "hash":
        return this.#input({ type: "hashed", hash: hashState(this.#parts.compute.tensors, this.#core.progress) });
      case "uploadState":
        return this.#upload(effect.progress);
      case "end":
        return void this.#end(effect);
    }
  }

  async #prepare(start: Extract<CoordinatorMessage, { type: "CoordinatorStart" }>): Promise<void> {
    const { configPath, dataset, computeOn, threads, token, log } = this.#options;
    const { config, seating, rank, generation } = start;
    this.#generation = generation;
    this.#seats = seating.flatMap((owner, seat) => (owner === rank ? [seat] : []));
    log.info({ rank, seats: this.#seats, generation }, "seated");
    this.#data = prepareData(dataset, config);
    const bytes = await this.#state?.complete;
    const compute = await startComputeSide({
      configPath,
      config,
      computeOn,
      dataset,
      data: this.#data,
      threads: Math.min(threads, this.#seats.length),
      seats: this.#seats,
      restore: bytes && ((tensors) => restoreState(tensors, bytes)),
      events: {
        bucketReady: (seat, bucket) => this.#bucketReady(seat, bucket),
        seatReady: (seat) => this.#seatReady(seat),
        folded: () => this.#held(),
        updated: () => this.#input({ type: "updated" }),
        failed: (error) => this.#fail(error),
      },
      signal: this.#givenUp.signal,
    });
    // It may have ended meanwhile: what is ready only now would be left running.
    if (this.#ended) return compute.close();
    this.#compute = compute;
    this.#state = undefined;
    const { layout, map, memory, tensors, probeHash, eagerBecause } = compute;
    if (start.peers.length > 1) {
      const ring = await openRing({
        rank,
        seating,
        generation,
        layout,
        segmentFloats: config.segmentBytes / 4,
        memory: {
          memory,
          seatOffset: (seat) => map.seats[this.#seats.indexOf(seat)] ?? 0,
          reducedOffset: (parity) => map.reduced[parity],
        },
        run: ringName,
        secret: token,
        peers: start.peers,
        ...(this.#listener && { listener: this.#listener }),
        connectTimeoutMs: 120_000,
        signal: this.#givenUp.signal,
        onHeld: () => this.#held(),
        onFault: (error) => this.#fail(error),
      });
      if (this.#ended) return ring.cut();
      this.#ring = ring;
    }
    const shaped = ({ name, shape }: { name: string; shape: readonly number[] }) => ({ name, shape: [...shape] });
    this.#input({
      type: "prepared",
      stepsPerEpoch: this.#data.sampler.stepsPerEpoch,
      ready: {
        layoutHash: layout.hash,
        stateHash: hashState(tensors, this.#core.progress),
        probeHash,
        eagerBecause,
        tensors: { model: tensors.model.map(shaped), optimizer: tensors.optimizer.map(shaped) },
      },
    });
  }

  #openRound(buckets: readonly number[], purpose: Round["purpose"]): number {
    const number = this.#rounds++;
    this.#round = { number, buckets, purpose, lastSeatMs: performance.now() };
    this.#ring?.open(number, buckets);
    return number;
  }

  #bucketReady(seat: number, bucket: number): void {
    if (this.#round) this.#ring?.ready(this.#round.number, bucket, seat);
  }

  /** The buckets before the round's last were handed over one by one. */
  #seatReady(seat: number): void {
    const last = this.#round?.buckets.at(-1);
    if (!this.#round || last === undefined) return;
    this.#round.lastSeatMs = performance.now();
    this.#bucketReady(seat, last);
  }

  /** The round's reduced values are here. */
  #held(): void {
    const round = this.#round;
    if (!round || this.#ended) return;
    const { compute, data } = this.#parts;
    const { layout, memory, map } = compute;
    const reduced = map.reduced[parityOf(round.number)];
    if (round.purpose.kind === "step") {
      const { step } = round.purpose;
      const ids = data.sampler.batch(step);
      return this.#input({
        type: "stepHeld",
        tail: readTail(new Float32Array(memory.buffer, reduced + 4 * layout.tailStart, tailFields)),
        expected: { samples: ids.length, receipt: expectedReceipt(step, ids) },
        timing: { ...compute.takeTiming(), communicationMs: performance.now() - round.lastSeatMs },
        memoryBytes: process.resourceUsage().maxRSS * 1024,
      });
    }
    this.#input({
      type: "evaluationHeld",
      evaluation: readEvaluation(compute, round.purpose.split, parityOf(round.number)),
    });
  }

  #upload(progress: Parameters<typeof hashState>[1]): void {
    const { tensors } = this.#parts.compute;
    const { link } = this.#options;
    const at = { generation: this.#generation, step: progress.step };
    const bytes = snapshot(tensors);
    // One state at a time, in order; training goes on meanwhile.
    this.#uploads = this.#uploads
      .then(() => {
        link.send(encodeControl({ type: "WorkerState", ...at, totalBytes: bytes.length, progress }));
        return sendState(link, at, bytes);
      })
      .catch((error: unknown) => this.#fail(error));
  }

  async #end({ exitCode, code, message }: WorkerEnd): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#timer);
    const { link, log } = this.#options;
    if (exitCode === 0) log.info({ code }, message);
    else log.error({ code, step: this.#core.stepsDone }, message);
    this.#givenUp.abort();
    await this.#preparation;
    if (exitCode === 0) await this.#ring?.close();
    else this.#ring?.cut();
    await this.#compute?.close();
    link.close(message);
    this.#resolve({ exitCode, code, message });
  }

  get #parts(): { readonly compute: ComputeSide; readonly data: PreparedData } {
    if (!this.#compute || !this.#data) throw new Error("a worker works only once it is prepared");
    return { compute: this.#compute, data: this.#data };
  }
}
