import * as tf from "@tensorflow/tfjs";
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
  const layers = withSeededRandom(seed, () => make(input));
  checkModel(layers, input);
  const nameOf = canonicalNames(layers);
  const describe = (weight: tf.LayersModel["weights"][number]): NamedVariable => ({
    name: nameOf(weight.originalName),
    shape: weight.shape.map(Number),
    variable: weight.read() as tf.Variable,
  });
  return {
    layers,
    parameters: layers.trainableWeights.map(describe),
    statistics: layers.nonTrainableWeights.map(describe),
    classes: input.classes,
    imageShape: input.imageShape,
  };
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
  const last = layers.layers.at(-1);
  if (last?.getConfig()["activation"] === "softmax") {
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

/**
 * tf.layers numbers layers without a name per process ("conv2d_Conv2D7"), so their weights' names would depend on what else the process built.
 * They are numbered anew within the model: conv2d, conv2d_1, ... as Keras does.
 */
function canonicalNames(layers: tf.LayersModel): (name: string) => string {
  const counts = new Map<string, number>();
  const renamed = new Map<string, string>();
  for (const layer of layers.layers) {
    const automatic = new RegExp(`^(.+)_${layer.getClassName()}\\d+$`).exec(layer.name)?.[1];
    if (automatic === undefined) continue;
    const index = counts.get(automatic) ?? 0;
    counts.set(automatic, index + 1);
    renamed.set(layer.name, index === 0 ? automatic : `${automatic}_${index}`);
  }
  return (name) => {
    const [layer = "", ...rest] = name.split("/");
    return [renamed.get(layer) ?? layer, ...rest].join("/");
  };
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
