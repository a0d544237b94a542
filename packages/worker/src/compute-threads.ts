/** A rank's compute threads as one: starts them, gives each command to all, knows how far they are, and ends them. */
import { Worker } from "node:worker_threads";
import { barrierBytes, createBarrier } from "./barrier.ts";
import { CommandsUnderWay } from "./commands-under-way.ts";
import type { ComputeCommand, ComputeReport, ComputeThreadData, UseMemory } from "./compute-messages.ts";
import { WorkerError } from "./worker-error.ts";

type Built = Extract<ComputeReport, { type: "built" }>;
type Ready = Extract<ComputeReport, { type: "ready" }>;
/** What threads say while they work a command. */
export type WorkReport = Exclude<ComputeReport, { type: "built" | "ready" | "done" | "failed" }>;

interface ThreadEvents {
  heard(thread: number, report: WorkReport): void;
  /** A thread failed or ended. Not called once they are being closed. */
  failed(error: WorkerError): void;
}

/** How long closing waits for threads that load a library or capture a step. */
const longestPreparationMs = 30_000;

export class ComputeThreads {
  /** What each has built; rejects with the first failure. */
  readonly built: Promise<readonly Built[]>;
  readonly underWay: CommandsUnderWay;
  readonly #events: ThreadEvents;
  readonly #workers: readonly Worker[];
  readonly #barrier;
  readonly #built;
  readonly #ready;
  /** Those that load libraries or capture now. */
  readonly #preparing: Set<number>;
  #onPrepared: () => void = () => {};
  #isClosing = false;

  constructor(count: number, data: Omit<ComputeThreadData, "thread" | "threads" | "barrier">, events: ThreadEvents) {
    this.#events = events;
    this.underWay = new CommandsUnderWay(count);
    this.#built = collector<Built>(count);
    this.#ready = collector<Ready>(count);
    this.built = this.#built.all;
    this.#preparing = new Set(Array(count).keys());
    const barrier = new SharedArrayBuffer(barrierBytes);
    this.#barrier = createBarrier(barrier, count);
    const entry = new URL("./compute-thread.js", import.meta.url);
    this.#workers = Array.from({ length: count }, (_, thread) => {
      const workerData: ComputeThreadData = { ...data, thread, threads: count, barrier };
      const worker = new Worker(entry, { workerData });
      worker.on("message", (report: ComputeReport) => this.#hear(thread, report));
      worker.on("error", (error) => this.#ended(thread, String(error)));
      worker.on("exit", (code) => this.#ended(thread, `ended with code ${code}`));
      return worker;
    });
  }

  /** @returns what they say once every shape is prepared */
  useMemory(message: UseMemory): Promise<readonly Ready[]> {
    for (const thread of this.#workers.keys()) this.#preparing.add(thread);
    for (const worker of this.#workers) worker.postMessage(message);
    return this.#ready.all;
  }

  give(command: ComputeCommand): void {
    for (const worker of this.#workers) worker.postMessage(command);
  }

  /** Whoever waits for them hears of `error`. */
  giveUp(error: WorkerError): void {
    this.#built.reject(error);
    this.#ready.reject(error);
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    this.#barrier.abort();
    // A thread that is ended while it loads a library or builds a function takes the process with it: its calls into V8 fail, which koffi does not survive.
    if (this.#preparing.size > 0) {
      const { promise, resolve } = promiseParts<void>();
      this.#onPrepared = resolve;
      const timer = setTimeout(resolve, longestPreparationMs);
      await promise;
      clearTimeout(timer);
    }
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #hear(thread: number, report: ComputeReport): void {
    switch (report.type) {
      case "built":
        this.#prepared(thread);
        return this.#built.add(thread, report);
      case "ready":
        this.#prepared(thread);
        return this.#ready.add(thread, report);
      case "done":
        return this.underWay.done(thread, performance.now());
      case "failed":
        this.#prepared(thread);
        this.underWay.done(thread, performance.now());
        // Another thread's failure is the one to tell of.
        if (report.code !== "BARRIER_ABORTED") this.#fail(new WorkerError(report.code, report.message));
        return;
      default: {
        const isLast = report.type === "folded" || (report.type === "seatReady" && report.isLast);
        if (isLast) this.underWay.done(thread, performance.now());
        return this.#events.heard(thread, report);
      }
    }
  }

  #ended(thread: number, how: string): void {
    this.#barrier.abort();
    this.#prepared(thread);
    this.underWay.ended(thread, performance.now());
    this.#fail(new WorkerError("COMPUTE_THREAD_ENDED", `compute thread ${thread}: ${how}`));
  }

  #prepared(thread: number): void {
    this.#preparing.delete(thread);
    if (this.#preparing.size === 0) this.#onPrepared();
  }

  #fail(error: WorkerError): void {
    if (this.#isClosing) return;
    this.#events.failed(error);
    this.giveUp(error);
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
