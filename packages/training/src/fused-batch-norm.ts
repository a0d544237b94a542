/**
 * tf.layers' BatchNormalization composes moments, normalisation and gradient from some forty ops. Inside a training step's program it runs as one op
 * forward and one backward; the rule of the moving statistics is tf.layers' own. In evaluation or outside of a program tf.layers' code runs. (That code
 * reads a scale and an offset in training even where the layer was told to have none, and throws.)
 *
 * A layer that is not trained normalises with its moving statistics and leaves them alone, as in Keras since TensorFlow 2; tf.layers ignores `trainable: false`.
 */
import { batchNormInTraining, isInProgram, tf } from "@ringmaster/backend";

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

/** Layers that a model around them keeps from being trained. */
const frozen = new WeakSet<tf.layers.Layer>();

/** Tells which layers are not trained though they say nothing of it themselves. */
export function freezeBatchNorm(layers: readonly tf.layers.Layer[]): void {
  for (const layer of layers) frozen.add(layer);
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
    const training = kwargs.training === true && this.trainable && !frozen.has(this);
    if (input === undefined || !isNormalisable(input)) return own.call(this, inputs, { ...kwargs, training });
    return tf.tidy(() =>
      channelsLast(this, input, (x, layer) =>
        isInProgram() && training ? normalise(layer, x) : own.call(layer, x, { ...kwargs, training }),
      ),
    );
  };
}

/** tf.layers normalises inputs of rank 2 to 4. */
const isNormalisable = ({ rank, dtype }: tf.Tensor): boolean => rank >= 2 && rank <= 4 && dtype === "float32";

type Action = (x: tf.Tensor, layer: BatchNormalization) => tf.Tensor | tf.Tensor[];

/** Of an input whose channels lie elsewhere, their axis changes places with the last: backends of tfjs take other axes for the last one. */
function channelsLast(layer: BatchNormalization, input: tf.Tensor, action: Action): tf.Tensor | tf.Tensor[] {
  const last = input.rank - 1;
  const channels = layer.axis < 0 ? input.rank + layer.axis : layer.axis;
  if (channels === last) return action(input, layer);
  const swapped = input.shape.map((_, index) => (index === channels ? last : index === last ? channels : index));
  const turned: BatchNormalization = Object.create(layer, { axis: { value: last } });
  return tf.transpose(action(tf.transpose(input, swapped), turned) as tf.Tensor, swapped);
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
