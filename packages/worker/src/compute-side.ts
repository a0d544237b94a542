/** The main thread's view of a rank's computing: its memory, its seats, the commands to its compute threads, and what they say. It never waits for them. */
import type { BackendOptions, NumericsFingerprint } from "@ringmaster/backend";
import type { ImageDataset } from "@ringmaster/data";
import type { RunConfig } from "@ringmaster/protocol";
import {
  blockShapes,
  createLayout,
  createMemory,
  createMemoryMap,
  type EvaluationSplit,
  type MemoryMap,
  type PreparedData,
  type RunLayout,
  type StateTensors,
  slotNames,
  stateTensors,
} from "@ringmaster/training";
import type { NextStep, Update } from "./compute-messages.ts";
import { ComputeThreads, type WorkReport } from "./compute-threads.ts";
import { SeatSlots } from "./seat-slots.ts";
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
  /** What the rank has; more than seats are not started. */
  readonly threads: number;
  /** Fills the state in before the shapes are prepared. Default: the seed's. */
  readonly restore?: (tensors: StateTensors) => void;
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
  /** How many seats fit this rank's memory. */
  readonly seatCapacity: number;
  /**
   * The rank's seats from now on; none at the start. Seats that stay keep their buffers and what is in them; one that comes back does so if its buffer was not
   * given away.
   * @throws WorkerError MISUSE while commands are under way, or beyond the capacity
   */
  takeSeats(seats: readonly number[]): void;
  /** Byte offset of the flat buffer of one of the rank's seats. @throws WorkerError MISUSE for any other seat */
  seatOffset(seat: number): number;
  /** The rank's seats whose gradients of the step with this tag are whole in their buffers. */
  kept(tag: string): readonly number[];
  /**
   * Updates with the step that is held, then computes the next. Seats kept under `compute.tag` are not computed again: they are given as they are, with the
   * plan word of now. `compute.tag` names the step and the state that it starts from.
   */
  step(command: {
    readonly update: Update | null;
    readonly compute: (NextStep & { readonly tag: string }) | null;
  }): void;
  /** Leaves kept gradients as they are. */
  evaluate(command: { readonly split: EvaluationSplit; readonly foldInto: 0 | 1 | null }): void;
  /**
   * Writes the seed's state anew. Resolves when it is there.
   * @throws WorkerError MISUSE while commands are under way; what the threads failed with
   */
  initialise(): Promise<void>;
  /** Resolves once every command is done, or has failed: the threads touch no memory until the next. */
  whenIdle(): Promise<void>;
  /** How long the command under way has been worked, 0 while idle. */
  busyMs(): number;
  takeTiming(): ComputeTiming;
  close(): Promise<void>;
}

/**
 * Starts the compute threads and returns when every shape is prepared and the state is in place.
 * @throws WorkerError with a thread's own code, or COMPUTE_THREAD_ENDED.
 */
export async function startComputeSide(options: ComputeOptions): Promise<ComputeSide> {
  const { configPath, config, computeOn, dataset, data, events, restore, signal } = options;
  const count = Math.min(options.threads, config.seats);
  const timing = Array.from({ length: count }, () => ({ dataMs: 0, computeMs: 0 }));
  let optimizerMs = 0;
  let folded = 0;
  let slots = new SeatSlots(0);
  let isOpen = false;
  let failure: WorkerError | undefined;

  const heard = (thread: number, report: WorkReport) => {
    switch (report.type) {
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
        slots.ready(report.command, report.seat);
        return events.seatReady(report.seat);
      }
      case "folded":
        folded++;
        if (folded % count === 0) events.folded();
        return;
    }
  };
  const failed = (error: WorkerError) => {
    failure ??= error;
    if (isOpen) events.failed(error);
  };
  const threads = new ComputeThreads(count, { configPath, config, computeOn, dataset }, { heard, failed });
  const { underWay } = threads;

  const giveUp = () => threads.giveUp(new WorkerError("GIVEN_UP", "the run ended before this rank was prepared"));
  signal?.addEventListener("abort", giveUp, { once: true });
  try {
    const [first] = await threads.built;
    if (first === undefined) throw new WorkerError("COMPUTE_THREAD_ENDED", "no compute thread was started");
    const { parameters, statistics, fingerprint } = first;
    const { seats, bucketBytes, optimizer } = config;
    const classes = dataset.classNames.length;
    const layout = createLayout({ parameters, statistics, classes, seats, bucketBytes });
    const map = createMemoryMap({
      layout,
      slots: slotNames(optimizer).length,
      threads: count,
      batch: Math.max(...data.sampler.seatShapes(), ...blockShapes(data)),
      imageFloats: dataset.imageShape.reduce((product, extent) => product * extent, 1),
    });
    const memory = createMemory(map);
    const tensors = stateTensors(memory, map, layout, optimizer);
    restore?.(tensors);
    slots = new SeatSlots(map.seats.length);
    const [firstReady] = await threads.useMemory({ type: "useMemory", memory, map, initialise: !restore });
    isOpen = true;

    const begin = () => underWay.begin(performance.now());
    const checkIdle = () => {
      if (underWay.isIdle) return;
      throw new WorkerError(
        "MISUSE",
        "expected idle compute threads, found a command under way: wait until it is done",
      );
    };
    const seatOffset = (seat: number) => map.seats[slots.indexOf(seat)] ?? 0;
    const seatWork = (kept: readonly number[]) =>
      slots.seats.map((seat) => ({ seat, buffer: seatOffset(seat), isKept: kept.includes(seat) }));
    return {
      layout,
      map,
      memory,
      tensors,
      fingerprint,
      probeHash: firstReady?.probeHash ?? "",
      eagerBecause: firstReady?.eagerBecause ?? null,
      seatCapacity: map.seats.length,
      takeSeats(taken) {
        checkIdle();
        slots.take(taken);
      },
      seatOffset,
      kept: (tag) => slots.kept(tag),
      step({ update, compute }) {
        const command = begin();
        const work = compute ? seatWork(slots.kept(compute.tag)) : [];
        if (compute) slots.train(command, compute.tag);
        threads.give({ type: "step", command, seats: work, update, compute });
      },
      evaluate({ split, foldInto }) {
        threads.give({ type: "evaluate", command: begin(), seats: seatWork([]), split, foldInto });
      },
      async initialise() {
        checkIdle();
        begin();
        threads.give({ type: "initialise" });
        await underWay.whenIdle();
        if (failure) throw failure;
      },
      whenIdle: () => underWay.whenIdle(),
      busyMs: () => underWay.busyMs(performance.now()),
      takeTiming() {
        const longest = (field: "dataMs" | "computeMs") => Math.max(...timing.map((own) => own[field]));
        const taken = { dataMs: longest("dataMs"), computeMs: longest("computeMs"), optimizerMs };
        for (const own of timing) Object.assign(own, { dataMs: 0, computeMs: 0 });
        optimizerMs = 0;
        return taken;
      },
      close: () => threads.close(),
    };
  } catch (error) {
    await threads.close();
    throw error;
  } finally {
    signal?.removeEventListener("abort", giveUp);
  }
}
