/**
 * tf.layers' random layers draw in JavaScript, which a captured step would freeze. Inside a program they draw keyed numbers instead
 * (`keyedUniform`), so that what a sample sees depends on (seed, step, slot in the global batch) and not on who computes it.
 */
import { isInProgram, keyedNormal, keyedUniform } from "@ringmaster/backend";
import * as tf from "@tensorflow/tfjs";
import { TrainingError } from "./training-error.ts";

type LayerCall = (inputs: tf.Tensor | tf.Tensor[], kwargs: { training?: boolean }) => tf.Tensor | tf.Tensor[];
type Noise = (input: tf.Tensor, layer: RandomLayer) => tf.Tensor;

interface RandomLayer extends tf.layers.Layer {
  readonly rate: number;
  readonly stddev: number;
  readonly noiseShape?: readonly (number | null)[] | null;
}

let keyed = false;

/** Makes the random layers of tf.layers keyed, once a thread. */
export function keyRandomLayers(): void {
  if (keyed) return;
  keyed = true;
  replace(tf.layers.dropout({ rate: 0.5 }), dropout);
  replace(tf.layers.spatialDropout1d({ rate: 0.5 }), (input, layer) => {
    const [samples = 0, , channels = 0] = input.shape;
    return masked(input, layer.rate, [samples, 1, channels]);
  });
  replace(tf.layers.gaussianNoise({ stddev: 1 }), (input, layer) =>
    tf.add(input, tf.mul(keyedNormal(input.shape), layer.stddev)),
  );
  replace(tf.layers.gaussianDropout({ rate: 0.5 }), (input, { rate }) => {
    const deviation = Math.sqrt(rate / (1 - rate));
    return tf.mul(input, tf.add(tf.mul(keyedNormal(input.shape), deviation), 1));
  });
}

function replace(example: tf.layers.Layer, noise: Noise): void {
  const prototype = Object.getPrototypeOf(example) as { call: LayerCall };
  const own = prototype.call;
  prototype.call = function (this: RandomLayer, inputs, kwargs) {
    // Like tf.layers', a rate of 0 or 1 draws nothing and leaves the input alone.
    const draws = !(this.rate <= 0 || this.rate >= 1);
    if (!isInProgram() || kwargs.training !== true || !draws) return own.call(this, inputs, kwargs);
    const input = Array.isArray(inputs) ? inputs[0] : inputs;
    if (input === undefined)
      throw new TrainingError("MODEL_UNSUPPORTED", `layer ${this.name}: expected one input, found none`);
    return tf.tidy(() => noise(input, this));
  };
}

function dropout(input: tf.Tensor, layer: RandomLayer): tf.Tensor {
  const shape = input.shape.map((size, axis) => layer.noiseShape?.[axis] ?? size);
  if (shape[0] !== input.shape[0]) {
    const advice = "leave its first entry null";
    throw new TrainingError(
      "MODEL_UNSUPPORTED",
      `layer ${layer.name}: noiseShape shares one mask among samples; ${advice}`,
    );
  }
  return masked(input, layer.rate, shape);
}

/** Inverted dropout: kept with probability 1 - rate and divided by it. */
export function masked(input: tf.Tensor, rate: number, shape: readonly number[]): tf.Tensor {
  const kept = tf.cast(tf.greaterEqual(keyedUniform(shape), rate), "float32");
  return tf.mul(input, tf.mul(kept, 1 / (1 - rate)));
}
