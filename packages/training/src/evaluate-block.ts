/** One fixed block of an evaluation as a program: forward only, with the sums that a seat gives to the ring. */
import { sparseSoftmaxCrossEntropy, tf } from "@ringmaster/backend";
import { batchOf, feedsOf, type StepSurroundings } from "./train-step.ts";

export interface EvaluateBlock {
  /** Loss sum of the block that lies in the thread's memory; `predictions` (int32 [samples]) is valid until the next call. */
  run(): { readonly loss: number; readonly predictions: Int32Array };
}

/** Prepares the forward pass for blocks of `samples` samples, BatchNorm with its moving statistics, no dropout. */
export function prepareEvaluateBlock(surroundings: StepSurroundings, samples: number): EvaluateBlock {
  const { backend, model, memory, thread, compiler = "grappler" } = surroundings;
  const program = backend.prepare({
    memory,
    feeds: feedsOf(surroundings, samples),
    body: (fed) => {
      const [images, labels] = batchOf(fed);
      const logits = model.apply(images, false);
      return [tf.sum(sparseSoftmaxCrossEntropy(logits, labels)), tf.argMax(logits, 1)];
    },
    compiler,
  });
  const outputs = [thread.scratch, thread.scratch + 64];
  const loss = new Float32Array(memory.buffer, thread.scratch, 1);
  const predictions = new Int32Array(memory.buffer, thread.scratch + 64, samples);
  const nothingRandom = { seed: 0, step: 0, firstSlot: 0 };
  return {
    run() {
      program.run({ outputs, random: nothingRandom });
      return { loss: loss[0] ?? 0, predictions };
    },
  };
}
