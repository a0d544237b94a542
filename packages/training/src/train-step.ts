/**
 * One seat's training step as a program: forward, loss, backward, and the sums that the seat gives to the ring.
 *
 * Everything that leaves it is a sum over the seat's samples; the whole batch's count divides once, after the reduction. The gradients leave bucket by
 * bucket, in the layout's order, which is the one in which the backward pass makes them.
 */
import {
  type Compiler,
  type ComputeBackend,
  type Feed,
  type Precision,
  type RandomKey,
  sparseSoftmaxCrossEntropy,
  tf,
} from "@ringmaster/backend";
import type { RunLayout } from "./layout.ts";
import type { MemoryMap, ThreadMemory } from "./memory-map.ts";
import type { Model } from "./model.ts";
import { tailFields } from "./tail.ts";

/** What one program needs of its surroundings; one a compute thread. */
export interface StepSurroundings {
  readonly backend: ComputeBackend;
  readonly model: Model;
  readonly layout: RunLayout;
  readonly memory: WebAssembly.Memory;
  readonly map: MemoryMap;
  readonly thread: ThreadMemory;
  /** Of the training step's convolutions and products of matrices; evaluation is in float32, as the parameters are kept. Default float32. */
  readonly precision?: Precision;
  /** Of training step and evaluation. Default grappler. */
  readonly compiler?: Compiler;
}

/** What every program is fed: parameters, statistics, and the thread's batch of `samples`. */
export function feedsOf({ model, layout, map, thread }: StepSurroundings, samples: number): Feed[] {
  const feed = (base: number, placed: RunLayout["parameters"], variables: Model["parameters"]): Feed[] =>
    placed.map(({ offset, shape }, index) => ({
      byteOffset: base + 4 * offset,
      shape,
      dtype: "float32",
      ...(variables[index] && { variable: variables[index].variable }),
    }));
  return [
    ...feed(map.parameters, layout.parameters, model.parameters),
    ...feed(map.statistics, layout.statistics, model.statistics),
    { byteOffset: thread.images, shape: [samples, ...model.imageShape], dtype: "float32" },
    { byteOffset: thread.labels, shape: [samples], dtype: "int32" },
  ];
}

/** The thread's batch among what a program's body is fed. */
export const batchOf = (fed: readonly tf.Tensor[]): [images: tf.Tensor, labels: tf.Tensor1D] =>
  fed.slice(-2) as [tf.Tensor, tf.Tensor1D];

export interface SeatSums {
  readonly loss: number;
  readonly correct: number;
}

export interface TrainStep {
  /**
   * Computes the gradient sums of the batch that lies in the thread's memory and writes them, and the statistics' sums, into the seat's flat
   * buffer at byte `seatBuffer`. In float16 they are those of the loss times the number at `thread.lossScale`. The tail's other fields are the
   * caller's. `onBucket` is called as soon as a bucket's gradients are written.
   */
  run(seatBuffer: number, random: RandomKey, onBucket?: (bucket: number) => void): SeatSums;
  /** Ops of the program. */
  readonly ops: number;
  /** Why it runs op by op although the backend captures; null where it does not. */
  readonly eagerBecause: string | null;
  /** For each statistic, whether the step rewrites it. */
  readonly rewrites: readonly boolean[];
}

/** Prepares the step for seats of `samples` samples. */
export function prepareTrainStep(surroundings: StepSurroundings, samples: number): TrainStep {
  const { backend, model, layout, memory, thread, precision = "float32", compiler = "grappler" } = surroundings;
  const rewrites = model.statistics.map(() => false);
  // Outputs: loss, correct, the gradients, the statistics' sums.
  const targets = [
    ...layout.parameters.map(({ offset }) => offset),
    ...layout.statistics.map(({ offset }) => layout.tailStart + tailFields + offset),
  ];
  const bucketOf = (offset: number) =>
    layout.buckets.findIndex(({ start, length }) => offset >= start && offset < start + length);
  const stages = layout.stages.map((buckets) =>
    targets.flatMap((offset, index) => (buckets.includes(bucketOf(offset)) ? [index + 2] : [])),
  );
  // Loss and correct are part of the tail, which ends the last bucket.
  stages.at(-1)?.push(0, 1);
  const feeds = feedsOf(surroundings, samples);
  const scale: Feed = { byteOffset: thread.lossScale, shape: [], dtype: "float32" };
  const isScaled = precision === "float16";
  const program = backend.prepare({
    memory,
    feeds: isScaled ? [scale, ...feeds] : feeds,
    body: (fed) => lossAndGradients(model, samples, fed, isScaled ? (fed[0] as tf.Scalar) : null, rewrites),
    precision,
    compiler,
    stages,
  });
  const sums = new Float32Array(memory.buffer, thread.scratch, 2);
  return {
    ops: program.ops,
    eagerBecause: program.eagerBecause,
    rewrites,
    run(seatBuffer, random, onBucket) {
      program.run({
        outputs: [thread.scratch, thread.scratch + 4, ...targets.map((offset) => seatBuffer + 4 * offset)],
        random,
        ...(onBucket && { onStage: (stage) => layout.stages[stage]?.forEach(onBucket) }),
      });
      return { loss: sums[0] ?? 0, correct: sums[1] ?? 0 };
    },
  };
}

/**
 * @param scale what the gradients' loss is multiplied by, if anything; the loss that is handed back is not
 * @param rewrites is told, for each statistic, whether the step gives it a new value
 */
function lossAndGradients(
  model: Model,
  samples: number,
  fed: readonly tf.Tensor[],
  scale: tf.Scalar | null,
  rewrites: boolean[],
): tf.Tensor[] {
  const [images, labels] = batchOf(fed);
  const variables = model.parameters.map(({ variable }) => variable);
  // A clone keeps the value that the step reads: BatchNorm assigns a new one to the variable.
  const before = model.statistics.map(({ variable }) => variable.clone());
  const kept: tf.Tensor[] = [];
  const { grads } = tf.variableGrads(() => {
    const logits = model.apply(images, true);
    const loss = withRegularisers(model, samples, tf.sum(sparseSoftmaxCrossEntropy(logits, labels)));
    kept.push(tf.keep(tf.clone(loss)), tf.keep(countCorrect(logits, labels)));
    return scale === null ? loss : tf.mul(loss, scale);
  }, variables);
  const gradients = variables.map((variable) => grads[variable.name] ?? tf.zeros(variable.shape));
  model.statistics.forEach(({ variable }, index) => {
    rewrites[index] = variable.dataId !== before[index]?.dataId;
  });
  // The new moving statistic is linear in the seat's moments, so the mean over samples of the seats' new statistics is the one of the mean moments.
  const statistics = model.statistics.map(({ variable }) => tf.mul(variable, samples));
  before.forEach((value, index) => {
    model.statistics[index]?.variable.assign(value);
  });
  // What was kept is the caller's to free, as values that its tidy knows.
  const sums = kept.map((value) => tf.clone(value));
  tf.dispose(kept);
  return [...sums, ...gradients, ...statistics];
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
