/**
 * One seat's captured training step: forward, loss, backward, and the sums that the seat gives to the ring.
 *
 * Everything that leaves it is a sum over the seat's samples; the whole batch's count divides once, after the reduction.
 */
import {
  type CapturedStep,
  type Precision,
  sparseSoftmaxCrossEntropy,
  type TensorflowBackend,
} from "@ringmaster/backend";
import * as tf from "@tensorflow/tfjs";
import type { RunLayout } from "./layout.ts";
import type { MemoryMap, ThreadMemory } from "./memory-map.ts";
import type { Model } from "./model.ts";
import { tailFields } from "./tail.ts";

/** What one captured function needs of its surroundings; one a compute thread. */
export interface StepSurroundings {
  readonly backend: TensorflowBackend;
  readonly model: Model;
  readonly layout: RunLayout;
  readonly memory: WebAssembly.Memory;
  readonly map: MemoryMap;
  readonly thread: ThreadMemory;
  /** Of the training step's convolutions and products of matrices; evaluation is in float32, as the parameters are kept. Default float32. */
  readonly precision?: Precision;
}

/** What every captured function is fed, without a copy: parameters, statistics, and the thread's batch of `samples`. */
export function inputViews({ backend, model, layout, memory, map, thread }: StepSurroundings, samples: number) {
  return [
    ...layout.parameters.map(({ offset, shape }) =>
      backend.viewOf(memory, map.parameters + 4 * offset, shape, "float32"),
    ),
    ...layout.statistics.map(({ offset, shape }) =>
      backend.viewOf(memory, map.statistics + 4 * offset, shape, "float32"),
    ),
    backend.viewOf(memory, thread.images, [samples, ...model.imageShape], "float32"),
    backend.viewOf(memory, thread.labels, [samples], "int32"),
  ];
}

export interface SeatSums {
  readonly loss: number;
  readonly correct: number;
}

export interface TrainStep {
  /**
   * Computes the gradient sums of the batch that lies in the thread's memory and writes them, and the statistics' sums, into the seat's flat
   * buffer at byte `seatBuffer`. The tail's other fields are the caller's.
   */
  run(seatBuffer: number, random: { seed: number; step: number; firstSlot: number }): SeatSums;
  /** Ops of the captured function. */
  readonly ops: number;
  /** For each statistic, whether the step rewrites it. */
  readonly rewrites: readonly boolean[];
}

/** Captures the step for seats of `samples` samples. */
export function captureTrainStep(surroundings: StepSurroundings, samples: number): TrainStep {
  const { backend, model, layout, memory, thread } = surroundings;
  const { captured, rewrites } = captureOn(backend, model, samples, surroundings.precision ?? "float32");
  const inputs = inputViews(surroundings, samples);
  // Outputs in the capture's order: loss, correct, the gradients, the statistics' sums.
  const targets = [
    ...layout.parameters.map(({ offset }) => offset),
    ...layout.statistics.map(({ offset }) => layout.tailStart + tailFields + offset),
  ];
  const sums = new Float32Array(memory.buffer, thread.scratch, 2);
  return {
    ops: captured.ops,
    rewrites,
    run(seatBuffer, random) {
      captured.run({
        inputs,
        random,
        read(output, data, bytes) {
          const target = output < 2 ? thread.scratch + 4 * output : seatBuffer + 4 * (targets[output - 2] ?? 0);
          backend.copyTo(memory, target, data, bytes);
        },
      });
      return { loss: sums[0] ?? 0, correct: sums[1] ?? 0 };
    },
  };
}

function captureOn(
  backend: TensorflowBackend,
  model: Model,
  samples: number,
  precision: Precision,
): { captured: CapturedStep; rewrites: boolean[] } {
  const variables = model.parameters.map(({ variable }) => variable);
  let rewrites: boolean[] = [];
  const captured = backend.captureStep(() => {
    const images = tf.zeros([samples, ...model.imageShape]);
    const labels = tf.zeros([samples], "int32") as tf.Tensor1D;
    // A clone keeps the value that the step reads: BatchNorm assigns a new one to the variable.
    const before = model.statistics.map(({ variable }) => variable.clone());
    let correct: tf.Tensor | undefined;
    const { value, grads } = tf.variableGrads(() => {
      const logits = model.apply(images, true);
      correct = tf.keep(countCorrect(logits, labels));
      return withRegularisers(model, samples, tf.sum(sparseSoftmaxCrossEntropy(logits, labels)));
    }, variables);
    const gradients = variables.map((variable) => grads[variable.name] ?? tf.zeros(variable.shape));
    rewrites = model.statistics.map(({ variable }, index) => variable.dataId !== before[index]?.dataId);
    // The new moving statistic is linear in the seat's moments, so the mean over samples of the seats' new statistics is the one of the mean moments.
    const statistics = model.statistics.map(({ variable }) => tf.mul(variable, samples));
    // The capture leaves the model as it found it: it ran on images of zeros.
    before.forEach((value, index) => {
      model.statistics[index]?.variable.assign(value);
    });
    const kept = correct ?? tf.scalar(0);
    return { inputs: [...variables, ...before, images, labels], outputs: [value, kept, ...gradients, ...statistics] };
  }, precision);
  return { captured, rewrites };
}

function countCorrect(logits: tf.Tensor2D, labels: tf.Tensor1D): tf.Tensor {
  return tf.sum(tf.cast(tf.equal(tf.argMax(logits, 1), labels), "float32"));
}

/** A regulariser counts once a sample, like the losses, so that dividing the sum by the batch's count leaves it whole. */
function withRegularisers(model: Model, samples: number, loss: tf.Scalar): tf.Scalar {
  const [first, ...others] = model.penalties();
  if (!first) return loss;
  const penalty = others.reduce<tf.Scalar>((sum, each) => tf.add(sum, each), first);
  return tf.add(loss, tf.mul(penalty, samples));
}
