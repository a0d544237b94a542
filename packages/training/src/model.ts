import * as tf from "@tensorflow/tfjs";
import { canonicalNames } from "./canonical-names.ts";
import { keyRandomLayers } from "./keyed-layers.ts";
import { TrainingError } from "./training-error.ts";

/** A model as a training step sees it: variables in a fixed order under names that depend on the model alone. */
export interface Model {
  readonly layers: tf.LayersModel;
  readonly parameters: readonly NamedVariable[];
  /** Variables that the step may rewrite but the optimizer does not touch, such as BatchNorm's moving statistics. */
  readonly statistics: readonly NamedVariable[];
  readonly classes: number;
  readonly imageShape: ImageShape;
}

export interface NamedVariable {
  readonly name: string;
  readonly shape: readonly number[];
  readonly variable: tf.Variable;
}

export type ImageShape = readonly [height: number, width: number, channels: number];

export interface ModelInput {
  readonly imageShape: [height: number, width: number, channels: number];
  readonly classes: number;
}

/**
 * Builds the user's model with initial weights that are a function of `seed`: tf.layers' initialisers draw their seeds from Math.random, which is
 * replaced by a seeded generator meanwhile.
 * @throws TrainingError MODEL_UNSUPPORTED with what was expected of the model and what was found.
 */
export function buildModel(make: (input: ModelInput) => tf.LayersModel, input: ModelInput, seed: number): Model {
  keyRandomLayers();
  const layers = withSeededRandom(seed, () => call(make, input));
  checkModel(layers, input);
  const nameOf = canonicalNames(layers);
  const describe = (weight: tf.LayersModel["weights"][number]): NamedVariable => ({
    name: nameOf(weight.originalName),
    shape: weight.shape.map(Number),
    variable: weight.read() as tf.Variable,
  });
  const parameters = layers.trainableWeights.map(describe);
  const statistics = layers.nonTrainableWeights.map(describe);
  checkNames([...parameters, ...statistics].map(({ name }) => name));
  return {
    layers,
    parameters,
    statistics,
    classes: input.classes,
    imageShape: input.imageShape,
  };
}

function call(make: (input: ModelInput) => tf.LayersModel, input: ModelInput): tf.LayersModel {
  try {
    return make(input);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TrainingError("MODEL_UNSUPPORTED", `model: the config's function threw: ${reason}`, { cause: error });
  }
}

function checkModel(layers: unknown, { imageShape, classes }: ModelInput): asserts layers is tf.LayersModel {
  if (!(layers instanceof tf.LayersModel)) {
    throw new TrainingError(
      "MODEL_UNSUPPORTED",
      "model: expected a function that returns a tf.LayersModel (tf.sequential, tf.model)",
    );
  }
  if (layers.inputs.length !== 1 || layers.outputs.length !== 1) {
    const found = `${layers.inputs.length} inputs and ${layers.outputs.length} outputs`;
    throw new TrainingError("MODEL_UNSUPPORTED", `model: expected one input and one output, found ${found}`);
  }
  const expect = (what: string, expected: readonly number[], found: readonly (number | null)[]) => {
    if (found.length === expected.length + 1 && expected.every((size, axis) => found[axis + 1] === size)) return;
    const [shape, wanted] = [found, [null, ...expected]].map(
      (dimensions) => `[${dimensions.map((size) => size ?? "batch").join(", ")}]`,
    );
    throw new TrainingError("MODEL_UNSUPPORTED", `model: expected ${what} of shape ${wanted}, found ${shape}`);
  };
  expect("images", imageShape, layers.inputs[0]?.shape ?? []);
  expect("one logit a class", [classes], layers.outputs[0]?.shape ?? []);
  const last = lastLayer(layers);
  if (last.getClassName() === "Softmax" || last.getConfig()["activation"] === "softmax") {
    const advice = "remove the activation; the loss applies softmax itself, in a numerically stable way";
    throw new TrainingError(
      "MODEL_UNSUPPORTED",
      `model: expected logits, found layer ${last.name} with activation softmax: ${advice}`,
    );
  }
  if (layers.trainableWeights.length === 0) {
    throw new TrainingError("MODEL_UNSUPPORTED", "model: expected trainable weights, found none");
  }
}

function lastLayer(layer: tf.layers.Layer): tf.layers.Layer {
  const last = layer instanceof tf.LayersModel ? layer.layers.at(-1) : undefined;
  return last ? lastLayer(last) : layer;
}

/** Two models inside the model may each have a layer of the same name; a checkpoint could not tell their weights apart. */
function checkNames(names: readonly string[]): void {
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice === undefined) return;
  const found = `found ${twice} twice: give the layers names of their own`;
  throw new TrainingError("MODEL_UNSUPPORTED", `model: expected weights of different names, ${found}`);
}

function withSeededRandom<Result>(seed: number, action: () => Result): Result {
  const original = Math.random;
  let state = seed >>> 0;
  // SplitMix32: one multiplication-xorshift round a number is plenty for seeds of tfjs's own generators.
  Math.random = () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return ((z ^ (z >>> 16)) >>> 0) / 2 ** 32;
  };
  try {
    return action();
  } finally {
    Math.random = original;
  }
}
