/** The main thread's view of a rank's compute threads: starts them, gives commands, and hears of seats and updates. It never waits for them. */
import { Worker } from "node:worker_threads";
import type { BackendOptions, NumericsFingerprint } from "@ringmaster/backend";
import type { ImageDataset } from "@ringmaster/data";
import type { RunConfig } from "@ringmaster/protocol";
import {
  blockShapes,
  createLayout,
  createMemory,
  createMemoryMap,
  type MemoryMap,
  type PreparedData,
  type RunLayout,
  type StateTensors,
  slotNames,
  stateTensors,
} from "@ringmaster/training";
import { barrierBytes } from "./barrier.ts";
import type { ComputeCommand, ComputeReport, ComputeThreadData } from "./compute-messages.ts";
import { WorkerError } from "./worker-error.ts";

export interface ComputeEvents {
  /** A step's bucket of a seat, not its last, is in the seat's buffer. */
  bucketReady(seat: number, bucket: number): void;
  /** All that a seat gives to a round is in its buffer. */
  seatReady(seat: number): void;
  /** World of one: all threads have folded. */
  folded(): void;
  updated(): void;
  failed(error: WorkerError): void;
}

export interface ComputeOptions {
  readonly configPath: string;
  readonly config: RunConfig;
  readonly computeOn: Required<BackendOptions>;
  readonly dataset: ImageDataset;
  readonly data: PreparedData;
  readonly threads: number;
  /** The rank's seats. */
  readonly seats: readonly number[];
  /** Fills the state in before the first step; undefined: from the seed. */
  readonly restore: ((tensors: StateTensors) => void) | undefined;
  readonly events: ComputeEvents;
  /** Gives up while threads are still being prepared. */
  readonly signal?: AbortSignal;
}

/** Milliseconds since the last call of `takeTiming`, the longest thread's. */
export interface ComputeTiming {
  readonly dataMs: number;
  readonly computeMs: number;
  readonly optimizerMs: number;
}

export interface ComputeSide {
  readonly layout: RunLayout;
  readonly map: MemoryMap;
  readonly memory: WebAssembly.Memory;
  readonly tensors: StateTensors;
  readonly fingerprint: NumericsFingerprint;
  /** See `WorkerReady.probeHash`. */
  readonly probeHash: string;
  /** See `WorkerReady.eagerBecause`. */
  readonly eagerBecause: string | null;
  command(command: Exclude<ComputeCommand, { type: "useMemory" }>): void;
  takeTiming(): ComputeTiming;
  close(): Promise<void>;
}

/** A thread that waits at the barrier for one that failed never ends its preparation; ending it there is safe. */
const longestPreparationMs = 30_000;

/**
 * Starts the compute threads and returns when every shape is prepared and the state is in place.
 * @throws WorkerError with a thread's own code, or COMPUTE_THREAD_ENDED.
 */
export async function startComputeSide(options: ComputeOptions): Promise<ComputeSide> {
  const { config, dataset, seats, threads, events } = options;
  const barrier = new SharedArrayBuffer(barrierBytes);
  const timing = Array.from({ length: threads }, () => ({ dataMs: 0, computeMs: 0 }));
  let optimizerMs = 0;
  let folded = 0;
  let isOpen = false;
  let closing = false;
  const preparing = new Set(timing.keys());
  let onPrepared: () => void = () => {};
  const prepared = (thread: number) => {
    preparing.delete(thread);
    if (preparing.size === 0) onPrepared();
  };
  const built = collector<Extract<ComputeReport, { type: "built" }>>(threads);
  const ready = collector<Extract<ComputeReport, { type: "ready" }>>(threads);

  const fail = (error: WorkerError) => {
    if (closing) return;
    if (isOpen) events.failed(error);
    built.reject(error);
    ready.reject(error);
  };
  const hear = (thread: number, report: ComputeReport) => {
    switch (report.type) {
      case "built":
        prepared(thread);
        return built.add(thread, report);
      case "ready":
        prepared(thread);
        return ready.add(thread, report);
      case "failed":
        prepared(thread);
        return fail(new WorkerError(report.code, report.message));
      case "updated":
        optimizerMs += report.optimizerMs;
        return events.updated();
      case "bucketReady":
        return events.bucketReady(report.seat, report.bucket);
      case "seatReady": {
        const own = timing[thread];
        if (own) {
          own.dataMs += report.dataMs;
          own.computeMs += report.computeMs;
        }
        return events.seatReady(report.seat);
      }
      case "folded":
        folded++;
        if (folded % threads === 0) events.folded();
        return;
    }
  };

  const entry = new URL(
    import.meta.url.endsWith(".ts") ? "./compute-thread.ts" : "./compute-thread.js",
    import.meta.url,
  );
  const workers = Array.from({ length: threads }, (_, thread) => {
    const { configPath, computeOn } = options;
    const workerData: ComputeThreadData = { configPath, config, computeOn, dataset, thread, threads, seats, barrier };
    const worker = new Worker(entry, { workerData });
    worker.on("message", (report: ComputeReport) => hear(thread, report));
    worker.on("error", (error) =>
      fail(new WorkerError("COMPUTE_THREAD_ENDED", `compute thread ${thread}: ${String(error)}`)),
    );
    worker.on("exit", (code) => {
      prepared(thread);
      fail(new WorkerError("COMPUTE_THREAD_ENDED", `compute thread ${thread} ended with code ${code}`));
    });
    return worker;
  });
  const close = async () => {
    closing = true;
    // A thread that is ended while it loads a library or builds a function takes the process with it: its calls into V8 fail, which koffi does not survive.
    if (preparing.size > 0) {
      const { promise, resolve } = promiseParts<void>();
      onPrepared = resolve;
      const timer = setTimeout(resolve, longestPreparationMs);
      await promise;
      clearTimeout(timer);
    }
    await Promise.all(workers.map((worker) => worker.terminate()));
  };

  const giveUp = () => fail(new WorkerError("GIVEN_UP", "the run ended before this rank was prepared"));
  options.signal?.addEventListener("abort", giveUp, { once: true });
  try {
    const [first] = await built.all;
    if (first === undefined) throw new WorkerError("COMPUTE_THREAD_ENDED", "no compute thread was started");
    const { parameters, statistics, fingerprint } = first;
    const classes = dataset.classNames.length;
    const layout = createLayout({
      parameters,
      statistics,
      classes,
      seats: config.seats,
      bucketBytes: config.bucketBytes,
    });
    const map = createMemoryMap({
      layout,
      slots: slotNames(config.optimizer).length,
      localSeats: seats.length,
      threads,
      batch: Math.max(...options.data.sampler.seatShapes(), ...blockShapes(options.data)),
      imageFloats: dataset.imageShape.reduce((product, extent) => product * extent, 1),
    });
    const memory = createMemory(map);
    const tensors = stateTensors(memory, map, layout, config.optimizer);
    options.restore?.(tensors);
    for (const thread of timing.keys()) preparing.add(thread);
    for (const worker of workers)
      worker.postMessage({ type: "useMemory", memory, map, initialise: !options.restore } satisfies ComputeCommand);
    const [firstReady] = await ready.all;
    isOpen = true;
    return {
      layout,
      map,
      memory,
      tensors,
      fingerprint,
      probeHash: firstReady?.probeHash ?? "",
      eagerBecause: firstReady?.eagerBecause ?? null,
      command(command) {
        for (const worker of workers) worker.postMessage(command);
      },
      takeTiming() {
        const longest = (field: "dataMs" | "computeMs") => Math.max(...timing.map((own) => own[field]));
        const taken = { dataMs: longest("dataMs"), computeMs: longest("computeMs"), optimizerMs };
        for (const own of timing) Object.assign(own, { dataMs: 0, computeMs: 0 });
        optimizerMs = 0;
        return taken;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  } finally {
    options.signal?.removeEventListener("abort", giveUp);
  }
}

/** Gathers one report a thread, in the order of threads. */
function collector<Report>(threads: number) {
  const { promise, resolve, reject } = promiseParts<readonly Report[]>();
  promise.catch(() => {});
  const reports = new Map<number, Report>();
  return {
    all: promise,
    reject,
    add(thread: number, report: Report) {
      reports.set(thread, report);
      if (reports.size === threads) resolve([...reports].sort(([a], [b]) => a - b).map(([, each]) => each));
    },
  };
}

function promiseParts<Value>() {
  let resolve: (value: Value) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<Value>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
