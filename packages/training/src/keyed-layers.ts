/**
 * tf.layers' random layers draw in JavaScript, which a captured step would freeze. Inside a program they draw keyed numbers instead
 * (`keyedUniform`), so that what a sample sees depends on (seed, step, slot in the global batch) and not on who computes it.
 */
import { isInProgram, keyedNormal, keyedUniform, tf } from "@ringmaster/backend";
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
  replace(tf.layers.alphaDropout({ rate: 0.5 }), alphaDropout);
  keyRecurrentLayers();
}

/** Klambauer et al. (2017): what is dropped goes to selu's negative limit, and an affine map keeps mean and variance. Of tf.layers' own form. */
function alphaDropout(input: tf.Tensor, layer: RandomLayer): tf.Tensor {
  const { rate } = layer;
  const [alpha, scale] = [1.6732632423543772, 1.0507009873554805];
  const limit = -alpha * scale;
  const a = ((1 - rate) * (1 + rate * limit ** 2)) ** -0.5;
  const kept = tf.cast(tf.greaterEqual(keyedUniform(maskShape(input, layer)), rate), "float32");
  const dropped = tf.add(tf.mul(input, kept), tf.mul(tf.sub(1, kept), limit));
  return tf.add(tf.mul(dropped, a), -a * limit * rate);
}

interface RecurrentCell extends tf.layers.Layer {
  dropoutFunc?: (x: tf.Tensor, rate: number) => tf.Tensor;
  dropoutMask?: tf.TensorContainer | null;
  recurrentDropoutMask?: tf.TensorContainer | null;
  readonly cells?: readonly RecurrentCell[];
}

/**
 * A recurrent layer's masks are drawn once a call, the same for all of its time steps. tf.layers keeps them in the cell until the next call, and where the cell
 * was made by the user or is one of a stack, for ever: each call starts without.
 */
function keyRecurrentLayers(): void {
  const { layers } = tf;
  for (const cell of [
    layers.simpleRNNCell({ units: 1 }),
    layers.gruCell({ units: 1 }),
    layers.lstmCell({ units: 1 }),
  ]) {
    const prototype = Object.getPrototypeOf(cell) as { call: LayerCall };
    const own = prototype.call;
    prototype.call = function (this: RecurrentCell, inputs, kwargs) {
      this.dropoutFunc ??= (x, rate) => (isInProgram() ? masked(x, rate, x.shape) : tf.dropout(x, rate));
      return own.call(this, inputs, kwargs);
    };
  }
  const prototype = Object.getPrototypeOf(layers.rnn({ cell: layers.stackedRNNCells({ cells: [] }) })) as {
    call: LayerCall;
  };
  const own = prototype.call;
  prototype.call = function (this: tf.layers.Layer & { readonly cell: RecurrentCell }, inputs, kwargs) {
    forgetMasks(this.cell);
    return own.call(this, inputs, kwargs);
  };
}

function forgetMasks(cell: RecurrentCell): void {
  tf.dispose([cell.dropoutMask, cell.recurrentDropoutMask].filter((mask) => mask != null) as tf.TensorContainer[]);
  cell.dropoutMask = null;
  cell.recurrentDropoutMask = null;
  cell.cells?.forEach(forgetMasks);
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

const dropout = (input: tf.Tensor, layer: RandomLayer): tf.Tensor => masked(input, layer.rate, maskShape(input, layer));

function maskShape(input: tf.Tensor, layer: RandomLayer): readonly number[] {
  const shape = input.shape.map((size, axis) => layer.noiseShape?.[axis] ?? size);
  if (shape[0] !== input.shape[0]) {
    const advice = "leave its first entry null";
    throw new TrainingError(
      "MODEL_UNSUPPORTED",
      `layer ${layer.name}: noiseShape shares one mask among samples; ${advice}`,
    );
  }
  return shape;
}

/** Inverted dropout: kept with probability 1 - rate and divided by it. */
export function masked(input: tf.Tensor, rate: number, shape: readonly number[]): tf.Tensor {
  const kept = tf.cast(tf.greaterEqual(keyedUniform(shape), rate), "float32");
  return tf.mul(input, tf.mul(kept, 1 / (1 - rate)));
}
