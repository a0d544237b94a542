/**
 * What a compute thread does for a seat: read the seat's part of the batch, run the captured step, and leave the seat's sums in its flat buffer.
 * The bits in that buffer depend on (state, step, seat, S) alone.
 */
import { collate, receiptLimbs } from "@ringmaster/data";
import { captureEvaluateBlock, type EvaluateBlock } from "./evaluate-block.ts";
import { evaluationFields } from "./layout.ts";
import { blockShapes, type EvaluationSplit, type PreparedData, seatBlocks } from "./prepared-data.ts";
import { tailFields, writeTail } from "./tail.ts";
import { captureTrainStep, type StepSurroundings, type TrainStep } from "./train-step.ts";

export interface SeatTiming {
  readonly dataMs: number;
  readonly computeMs: number;
}

export interface SeatComputer {
  /** Ops of the captured training step. */
  readonly ops: number;
  /** For each statistic of the layout, whether training rewrites it. */
  readonly rewrites: readonly boolean[];
  /** `buffer`: byte offset of the seat's flat buffer. `plan`: whether this rank has the pending plan. */
  train(step: number, seat: number, buffer: number, plan: boolean): SeatTiming;
  evaluate(split: EvaluationSplit, seat: number, buffer: number): SeatTiming;
}

/** Captures every shape that the run will see, before its first step. */
export function createSeatComputer(surroundings: StepSurroundings, data: PreparedData, seed: number): SeatComputer {
  const { memory, layout, thread, model } = surroundings;
  const { sampler, table, dataset } = data;
  const { imageShape } = dataset;
  const trainSteps = new Map<number, TrainStep>(
    sampler.seatShapes().map((samples) => [samples, captureTrainStep(surroundings, samples)]),
  );
  const evaluateBlocks = new Map<number, EvaluateBlock>(
    blockShapes(data).map((samples) => [samples, captureEvaluateBlock(surroundings, samples)]),
  );
  const largest = Math.max(...trainSteps.keys(), ...evaluateBlocks.keys());
  const images = new Float32Array(memory.buffer, thread.images, largest * imageShape.reduce((a, b) => a * b, 1));
  const labels = new Int32Array(memory.buffer, thread.labels, largest);
  const trainFloats = layout.tailStart + tailFields + layout.statisticFloats;
  const { start: evaluationStart, length: evaluationFloats } = layout.buckets[layout.evaluationBucket] ?? {
    start: 0,
    length: 0,
  };
  const first = trainSteps.values().next().value;

  return {
    ops: first?.ops ?? 0,
    rewrites: first?.rewrites ?? [],

    train(step, seat, buffer, plan) {
      const started = performance.now();
      const slots = sampler.seatSlots(step, seat);
      const samples = slots.end - slots.first;
      const tail = new Float32Array(memory.buffer, buffer + 4 * layout.tailStart, tailFields);
      if (samples === 0) {
        new Float32Array(memory.buffer, buffer, trainFloats).fill(0);
        writeTail(tail, { loss: 0, correct: 0, samples: 0, plan: plan ? 1 : 0, receipt: [0, 0, 0, 0] });
        return { dataMs: performance.now() - started, computeMs: 0 };
      }
      const ids = sampler.batch(step).subarray(slots.first, slots.end);
      collate({ examples: dataset.train, imageShape, ids, table, images, labels });
      const collated = performance.now();
      const captured = trainSteps.get(samples);
      if (!captured) throw new RangeError(`no step was captured for ${samples} samples`);
      const sums = captured.run(buffer, { seed, step, firstSlot: slots.first });
      writeTail(tail, { ...sums, samples, plan: plan ? 1 : 0, receipt: receiptLimbs(step, slots.first, ids) });
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
        const captured = evaluateBlocks.get(blockIds.length);
        if (!captured) throw new RangeError(`no evaluation was captured for ${blockIds.length} samples`);
        const { loss, predictions } = captured.run();
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
