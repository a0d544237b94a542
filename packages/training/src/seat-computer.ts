/**
 * What a compute thread does for a seat: read the seat's part of the batch, run the training step, and leave the seat's sums in its flat buffer.
 * The bits in that buffer depend on (state, step, seat, S) alone.
 */
import { collate, receiptLimbs } from "@ringmaster/data";
import { type EvaluateBlock, prepareEvaluateBlock } from "./evaluate-block.ts";
import { evaluationFields } from "./layout.ts";
import { loadOptimizerKernels } from "./optimizer-kernels.ts";
import { blockShapes, type EvaluationSplit, type PreparedData, seatBlocks } from "./prepared-data.ts";
import { tailFields, writeTail } from "./tail.ts";
import { prepareTrainStep, type StepSurroundings, type TrainStep } from "./train-step.ts";

export interface SeatTiming {
  readonly dataMs: number;
  readonly computeMs: number;
}

export interface SeatComputer {
  /** Ops of a training step. */
  readonly ops: number;
  /** Why steps run op by op although the backend captures; null where they do not. */
  readonly eagerBecause: string | null;
  /** For each statistic of the layout, whether training rewrites it. */
  readonly rewrites: readonly boolean[];
  /**
   * @param buffer byte offset of the seat's flat buffer
   * @param plan the word of the plan that this rank has, 0: none
   * @param lossScale what the loss is multiplied by before it is differentiated; 1 but in float16
   * @param onBucket called as soon as a bucket of the step is in the buffer, the last with the tail, in the layout's order
   */
  train(
    step: number,
    seat: number,
    buffer: number,
    options: { readonly plan: number; readonly lossScale: number },
    onBucket?: (bucket: number) => void,
  ): SeatTiming;
  evaluate(split: EvaluationSplit, seat: number, buffer: number): SeatTiming;
}

/** Prepares every shape that the run will see, before its first step. */
export function createSeatComputer(surroundings: StepSurroundings, data: PreparedData, seed: number): SeatComputer {
  const { memory, layout, thread, model } = surroundings;
  const { sampler, table, dataset } = data;
  const { imageShape } = dataset;
  const trainSteps = new Map<number, TrainStep>(
    sampler.seatShapes().map((samples) => [samples, prepareTrainStep(surroundings, samples)]),
  );
  const evaluateBlocks = new Map<number, EvaluateBlock>(
    blockShapes(data).map((samples) => [samples, prepareEvaluateBlock(surroundings, samples)]),
  );
  const largest = Math.max(...trainSteps.keys(), ...evaluateBlocks.keys());
  const images = new Float32Array(memory.buffer, thread.images, largest * imageShape.reduce((a, b) => a * b, 1));
  const labels = new Int32Array(memory.buffer, thread.labels, largest);
  const scale = new Float32Array(memory.buffer, thread.lossScale, 1);
  const trainFloats = layout.tailStart + tailFields + layout.statisticFloats;
  const { start: evaluationStart, length: evaluationFloats } = layout.buckets[layout.evaluationBucket] ?? {
    start: 0,
    length: 0,
  };
  const first = trainSteps.values().next().value;
  const { allFinite } = loadOptimizerKernels(memory);

  return {
    ops: first?.ops ?? 0,
    eagerBecause: first?.eagerBecause ?? null,
    rewrites: first?.rewrites ?? [],

    train(step, seat, buffer, { plan, lossScale }, onBucket) {
      const started = performance.now();
      const slots = sampler.seatSlots(step, seat);
      const samples = slots.end - slots.first;
      const tail = new Float32Array(memory.buffer, buffer + 4 * layout.tailStart, tailFields);
      if (samples === 0) {
        new Float32Array(memory.buffer, buffer, trainFloats).fill(0);
        writeTail(tail, { loss: 0, correct: 0, samples: 0, plan, receipt: [0, 0, 0, 0], overflowed: 0 });
        for (const bucket of layout.stepBuckets) onBucket?.(bucket);
        return { dataMs: performance.now() - started, computeMs: 0 };
      }
      const ids = sampler.batch(step).subarray(slots.first, slots.end);
      collate({ examples: dataset.train, imageShape, ids, table, images, labels });
      scale[0] = lossScale;
      const collated = performance.now();
      const prepared = trainSteps.get(samples);
      if (!prepared) throw new RangeError(`no step was prepared for ${samples} samples`);
      const last = layout.stepBuckets.at(-1);
      const sums = prepared.run(buffer, { seed, step, firstSlot: slots.first }, (bucket) => {
        if (bucket !== last) onBucket?.(bucket);
      });
      const receipt = receiptLimbs(step, slots.first, ids);
      const overflowed = allFinite(buffer, layout.parameterFloats) ? 0 : 1;
      writeTail(tail, { ...sums, samples, plan, receipt, overflowed });
      if (last !== undefined) onBucket?.(last);
      return { dataMs: collated - started, computeMs: performance.now() - collated };
    },

    evaluate(split, seat, buffer) {
      const sums = new Float32Array(memory.buffer, buffer + 4 * evaluationStart, evaluationFloats).fill(0);
      const { examples, ids } = data.evaluation[split];
      let dataMs = 0;
      let computeMs = 0;
      for (const block of seatBlocks(data.evaluation[split], seat, layout.seats)) {
        const started = performance.now();
        const blockIds = ids.subarray(block.first, block.end);
        collate({ examples, imageShape, ids: blockIds, table, images, labels });
        const collated = performance.now();
        const prepared = evaluateBlocks.get(blockIds.length);
        if (!prepared) throw new RangeError(`no evaluation was prepared for ${blockIds.length} samples`);
        const { loss, predictions } = prepared.run();
        sums[0] = (sums[0] ?? 0) + loss;
        sums[1] = (sums[1] ?? 0) + blockIds.length;
        predictions.forEach((predicted, index) => {
          const cell = evaluationFields + (labels[index] ?? 0) * model.classes + predicted;
          sums[cell] = (sums[cell] ?? 0) + 1;
        });
        dataMs += collated - started;
        computeMs += performance.now() - collated;
      }
      return { dataMs, computeMs };
    },
  };
}
