/**
 * A compute thread: its own compute backend, one prepared step for each shape, and its share of the fold and the optimizer. It does one command
 * after another and may block; the main thread keeps the sockets alive meanwhile.
 */
import { createHash } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";
import { numericsFingerprint, openBackend } from "@ringmaster/backend";
import { foldRange, loadSumKernels, type ReductionMemory } from "@ringmaster/collective";
import {
  buildModel,
  createLayout,
  createSeatComputer,
  loadDefinition,
  loadOptimizerKernels,
  prepareData,
  stateTensors,
  tailFields,
  updateRange,
  updateStatistics,
  writeInitialState,
  writePlan,
} from "@ringmaster/training";
import { createBarrier } from "./barrier.ts";
import type {
  ComputeCommand,
  ComputeReport,
  ComputeThreadData,
  NextStep,
  SeatWork,
  Update,
  UseMemory,
} from "./compute-messages.ts";
import { explain } from "./worker-error.ts";

const port = parentPort;
if (port === null) throw new Error("compute-thread.ts runs in a worker_thread");
const report = (message: ComputeReport) => port.postMessage(message);

const {
  configPath,
  config,
  computeOn,
  dataset,
  thread,
  threads,
  barrier: barrierBuffer,
} = workerData as ComputeThreadData;
const barrier = createBarrier(barrierBuffer, threads);

/** Those of the rank's seats that this thread works. */
const mine = (seats: readonly SeatWork[]) => seats.filter((_, index) => index % threads === thread);

/** The part [start, end) of `floats` that is this thread's, cut at cache lines. */
function myPart(floats: number): { start: number; end: number } {
  const lines = Math.ceil(floats / 16);
  const cut = (index: number) => Math.min(floats, Math.floor((lines * index) / threads) * 16);
  return { start: cut(thread), end: cut(thread + 1) };
}

async function start(): Promise<(command: ComputeCommand | UseMemory) => void> {
  const backend = await openBackend(computeOn);
  const { definition } = await loadDefinition(configPath);
  const input = { imageShape: [...dataset.imageShape] as [number, number, number], classes: dataset.classNames.length };
  const model = buildModel(definition.model, input, config.seed);
  const layout = createLayout({ ...model, seats: config.seats, bucketBytes: config.bucketBytes });
  const data = prepareData(dataset, config);
  const shapes = {
    parameters: layout.parameters.map(({ name, shape }) => ({ name, shape })),
    statistics: layout.statistics.map(({ name, shape }) => ({ name, shape })),
  };
  report({ type: "built", ...shapes, fingerprint: numericsFingerprint(backend) });
  let work: ((command: ComputeCommand) => void) | undefined;

  const useMemory = ({ memory, map, initialise }: UseMemory) => {
    const tensors = stateTensors(memory, map, layout, config.optimizer);
    if (thread === 0 && initialise) writeInitialState(tensors, model);
    barrier.wait();
    const own = map.threads[thread];
    if (own === undefined) throw new RangeError(`the memory map has no thread ${thread}`);
    const computer = createSeatComputer(
      { backend, model, layout, memory, map, thread: own, precision: config.precision, compiler: config.compiler },
      data,
      config.seed,
    );
    const optimizerKernels = loadOptimizerKernels(memory);
    const sumKernels = loadSumKernels(memory);
    // The last bucket is there with all the rest.
    const lastBucket = layout.stepBuckets.at(-1);
    const fold = (seats: readonly SeatWork[], buckets: readonly number[], parity: 0 | 1) => {
      barrier.wait();
      const buffers = new Map(seats.map(({ seat, buffer }) => [seat, buffer]));
      const reduction: ReductionMemory = {
        memory,
        seatOffset(seat) {
          const buffer = buffers.get(seat);
          if (buffer === undefined) throw new RangeError(`a world of one sits on every seat, but not on ${seat}`);
          return buffer;
        },
        reducedOffset: (of) => map.reduced[of],
      };
      for (const bucket of buckets) {
        const { start: first, end } = myPart(layout.buckets[bucket]?.length ?? 0);
        foldRange(sumKernels, reduction, layout, parity, bucket, first, end);
      }
      report({ type: "folded" });
    };

    const update = ({ optimizerStep, samples, lossScale, parity }: Update) => {
      const began = performance.now();
      const buffers = { parameters: map.parameters, gradients: map.reduced[parity], slots: map.slots };
      updateRange(optimizerKernels, config.optimizer, {
        ...buffers,
        ...myPart(layout.parameterFloats),
        step: optimizerStep,
        samples: samples * lossScale,
      });
      if (thread === 0) updateStatistics(memory, map, layout, computer.rewrites, map.reduced[parity], samples);
      barrier.wait();
      if (thread === 0) report({ type: "updated", optimizerMs: performance.now() - began });
    };

    const train = ({ seat, buffer, isKept }: SeatWork, { step, plan, lossScale }: NextStep) => {
      const onBucket = (bucket: number) => {
        if (bucket !== lastBucket) report({ type: "bucketReady", seat, bucket });
      };
      if (!isKept) return computer.train(step, seat, buffer, { plan, lossScale }, onBucket);
      writePlan(new Float32Array(memory.buffer, buffer + 4 * layout.tailStart, tailFields), plan);
      layout.stepBuckets.forEach(onBucket);
      return { dataMs: 0, computeMs: 0 };
    };

    /** Works this thread's seats and folds, where all of the world's are here. The last report says that it is. */
    const round = (
      { command, seats }: { command: number; seats: readonly SeatWork[] },
      buckets: readonly number[],
      foldInto: 0 | 1 | null,
      compute: (work: SeatWork) => { dataMs: number; computeMs: number },
    ) => {
      const own = mine(seats);
      for (const each of own) {
        const timing = compute(each);
        const isLast = foldInto === null && each === own.at(-1);
        report({ type: "seatReady", command, seat: each.seat, ...timing, isLast });
      }
      if (foldInto !== null) fold(seats, buckets, foldInto);
      else if (own.length === 0) report({ type: "done" });
    };

    work = (next) => {
      switch (next.type) {
        case "step": {
          const { update: held, compute } = next;
          if (held !== null) update(held);
          if (compute === null) return report({ type: "done" });
          return round(next, layout.stepBuckets, compute.foldInto, (each) => train(each, compute));
        }
        case "evaluate": {
          const evaluate = ({ seat, buffer }: SeatWork) => computer.evaluate(next.split, seat, buffer);
          return round(next, [layout.evaluationBucket], next.foldInto, evaluate);
        }
        case "initialise":
          if (thread === 0) writeInitialState(tensors, model);
          return report({ type: "done" });
      }
    };

    report({ type: "ready", probeHash: thread === 0 ? probe() : null, eagerBecause: computer.eagerBecause });

    /** The hash of the run's own gradient on a fixed part of a batch: seat 0's of the first step, whoever asks. */
    function probe(): string {
      const [buffer = 0] = map.seats;
      computer.train(0, 0, buffer, { plan: 0, lossScale: 1 });
      const gradient = new Uint8Array(memory.buffer, buffer, 4 * layout.tailStart);
      return createHash("sha256").update(gradient).digest("hex");
    }
  };

  return (command) => {
    if (command.type === "useMemory") return useMemory(command);
    work?.(command);
  };
}

const fail = (error: unknown) => {
  // Nobody may wait for this thread any longer.
  barrier.abort();
  report({ type: "failed", ...explain(error) });
};

// Commands that arrive while the model is built wait in the port.
start().then((handle) => {
  port.on("message", (command: ComputeCommand | UseMemory) => {
    try {
      handle(command);
    } catch (error) {
      fail(error);
    }
  });
}, fail);
