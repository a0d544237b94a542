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
  updateRange,
  updateStatistics,
  writeInitialState,
} from "@ringmaster/training";
import { createBarrier } from "./barrier.ts";
import type { ComputeCommand, ComputeReport, ComputeThreadData } from "./compute-messages.ts";
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
  seats,
  barrier: barrierBuffer,
} = workerData as ComputeThreadData;
const barrier = createBarrier(barrierBuffer, threads);
const mySeats = seats.map((seat, index) => ({ seat, index })).filter(({ index }) => index % threads === thread);

/** The part [start, end) of `floats` that is this thread's, cut at cache lines. */
function myPart(floats: number): { start: number; end: number } {
  const lines = Math.ceil(floats / 16);
  const cut = (index: number) => Math.min(floats, Math.floor((lines * index) / threads) * 16);
  return { start: cut(thread), end: cut(thread + 1) };
}

async function start(): Promise<(command: ComputeCommand) => void> {
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
  let handle: ((command: ComputeCommand) => void) | undefined;

  const useMemory = (command: Extract<ComputeCommand, { type: "useMemory" }>) => {
    const { memory, map } = command;
    const tensors = stateTensors(memory, map, layout, config.optimizer);
    if (thread === 0 && command.initialise) writeInitialState(tensors, model);
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
    const bufferOf = (index: number) => map.seats[index] ?? 0;
    // The last bucket is there with all the rest.
    const lastBucket = layout.stepBuckets.at(-1);
    const reduction: ReductionMemory = {
      memory,
      seatOffset: (seat) => bufferOf(seats.indexOf(seat)),
      reducedOffset: (parity) => map.reduced[parity],
    };
    const fold = (buckets: readonly number[], parity: 0 | 1) => {
      barrier.wait();
      for (const bucket of buckets) {
        const { start: first, end } = myPart(layout.buckets[bucket]?.length ?? 0);
        foldRange(sumKernels, reduction, layout, parity, bucket, first, end);
      }
      report({ type: "folded" });
    };

    handle = (next) => {
      if (next.type === "step") {
        if (next.update !== null) {
          const began = performance.now();
          const { optimizerStep, samples, lossScale, parity } = next.update;
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
        }
        if (next.compute !== null) {
          const { step, plan, lossScale, foldInto } = next.compute;
          for (const { seat, index } of mySeats) {
            const timing = computer.train(step, seat, bufferOf(index), { plan, lossScale }, (bucket) => {
              if (bucket !== lastBucket) report({ type: "bucketReady", seat, bucket });
            });
            report({ type: "seatReady", seat, ...timing });
          }
          if (foldInto !== null) fold(layout.stepBuckets, foldInto);
        }
      } else if (next.type === "evaluate") {
        for (const { seat, index } of mySeats) {
          const timing = computer.evaluate(next.split, seat, bufferOf(index));
          report({ type: "seatReady", seat, ...timing });
        }
        if (next.foldInto !== null) fold([layout.evaluationBucket], next.foldInto);
      }
    };

    report({ type: "ready", probeHash: thread === 0 ? probe() : null, eagerBecause: computer.eagerBecause });

    /** The hash of the run's own gradient on a fixed part of a batch: seat 0's of the first step, whoever asks. */
    function probe(): string {
      const buffer = bufferOf(0);
      computer.train(0, 0, buffer, { plan: false, lossScale: 1 });
      const gradient = new Uint8Array(memory.buffer, buffer, 4 * layout.tailStart);
      return createHash("sha256").update(gradient).digest("hex");
    }
  };

  return (command) => (command.type === "useMemory" ? useMemory(command) : handle?.(command));
}

const fail = (error: unknown) => report({ type: "failed", ...explain(error) });

// Commands that arrive while the model is built wait in the port.
start().then((handle) => {
  port.on("message", (command: ComputeCommand) => {
    try {
      handle(command);
    } catch (error) {
      fail(error);
    }
  });
}, fail);
