/** One fixed block of an evaluation: forward only, with the sums that a seat gives to the ring. */
import { sparseSoftmaxCrossEntropy } from "@ringmaster/backend";
import * as tf from "@tensorflow/tfjs";
import { inputViews, type StepSurroundings } from "./train-step.ts";

export interface EvaluateBlock {
  /** Loss sum of the block that lies in the thread's memory; `predictions` (int32 [samples]) is valid until the next call. */
  run(): { readonly loss: number; readonly predictions: Int32Array };
}

/** Captures the forward pass for blocks of `samples` samples, BatchNorm with its moving statistics, no dropout. */
export function captureEvaluateBlock(surroundings: StepSurroundings, samples: number): EvaluateBlock {
  const { backend, model, memory, thread } = surroundings;
  const captured = backend.captureStep(() => {
    const images = tf.zeros([samples, ...model.imageShape]);
    const labels = tf.zeros([samples], "int32") as tf.Tensor1D;
    const logits = model.apply(images, false);
    const loss = tf.sum(sparseSoftmaxCrossEntropy(logits, labels));
    const variables = [...model.parameters, ...model.statistics].map(({ variable }) => variable);
    return { inputs: [...variables, images, labels], outputs: [loss, tf.argMax(logits, 1)] };
  });
  const inputs = inputViews(surroundings, samples);
  const loss = new Float32Array(memory.buffer, thread.scratch, 1);
  const predictions = new Int32Array(memory.buffer, thread.scratch + 64, samples);
  const nothingRandom = { seed: 0, step: 0, firstSlot: 0 };
  return {
    run() {
      captured.run({
        inputs,
        random: nothingRandom,
        read: (output, data, bytes) => backend.copyTo(memory, thread.scratch + 64 * output, data, bytes),
      });
      return { loss: loss[0] ?? 0, predictions };
    },
  };
}
