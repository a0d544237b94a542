/**
 * tf.layers' BatchNormalization composes moments, normalisation and gradient from some forty ops. Inside a training step's program it runs as one op
 * forward and one backward; the rule of the moving statistics is tf.layers' own. In evaluation, outside of a program, or where the channels are not the
 * last axis, tf.layers' code runs. (That code reads a scale and an offset in training even where the layer was told to have none, and throws.)
 */
import { batchNormInTraining, isInProgram } from "@ringmaster/backend";
import * as tf from "@tensorflow/tfjs";

type LayerCall = (inputs: tf.Tensor | tf.Tensor[], kwargs: { training?: boolean }) => tf.Tensor | tf.Tensor[];

interface BatchNormalization extends tf.layers.Layer {
  readonly axis: number;
  readonly momentum: number;
  readonly epsilon: number;
  readonly gamma?: tf.LayerVariable;
  readonly beta?: tf.LayerVariable;
  readonly movingMean: tf.LayerVariable;
  readonly movingVariance: tf.LayerVariable;
}

let fused = false;

/** Makes tf.layers' BatchNormalization fused in programs of training steps, once a thread. */
export function fuseBatchNorm(): void {
  if (fused) return;
  fused = true;
  const prototype = Object.getPrototypeOf(tf.layers.batchNormalization()) as { call: LayerCall };
  const own = prototype.call;
  prototype.call = function (this: BatchNormalization, inputs, kwargs) {
    const input = Array.isArray(inputs) ? inputs[0] : inputs;
    const applies = isInProgram() && kwargs.training === true && input !== undefined && channelsAreLast(this, input);
    return applies ? tf.tidy(() => normalise(this, input)) : own.call(this, inputs, kwargs);
  };
}

/** tf.layers normalises inputs of rank 2 to 4. */
function channelsAreLast({ axis }: BatchNormalization, { rank, dtype }: tf.Tensor): boolean {
  return rank >= 2 && rank <= 4 && dtype === "float32" && (axis === -1 || axis === rank - 1);
}

function normalise(layer: BatchNormalization, input: tf.Tensor): tf.Tensor {
  const { gamma, beta, epsilon, momentum, movingMean, movingVariance } = layer;
  const batch = batchNormInTraining(input, gamma?.read() ?? null, beta?.read() ?? null, epsilon);
  const follow = (moving: tf.LayerVariable, value: tf.Tensor) => {
    const old = moving.read();
    moving.write(tf.sub(old, tf.mul(tf.sub(old, value), 1 - momentum)));
  };
  follow(movingMean, batch.mean);
  follow(movingVariance, batch.variance);
  return batch.normalised;
}
