/** A tf.layers model as a training step sees it. */
import * as tf from "@tensorflow/tfjs";
import { canonicalNames } from "./canonical-names.ts";
import type { Model, ModelInput, NamedVariable } from "./model.ts";
import { TrainingError } from "./training-error.ts";

/** @throws TrainingError MODEL_UNSUPPORTED */
export function ofLayers(layers: tf.LayersModel, input: ModelInput): Model {
  checkLayers(layers, input);
  const nameOf = canonicalNames(layers);
  const describe = (weight: tf.LayersModel["weights"][number]): NamedVariable => ({
    name: nameOf(weight.originalName),
    shape: weight.shape.map(Number),
    variable: weight.read() as tf.Variable,
  });
  return {
    ...input,
    parameters: layers.trainableWeights.map(describe),
    statistics: layers.nonTrainableWeights.map(describe),
    apply: (images, training) => layers.apply(images, { training }) as tf.Tensor2D,
    // Asked of the model, not of its layers: a model inside the model has its regularisers deeper down.
    penalties: () => layers.calculateLosses(),
  };
}

function checkLayers(layers: tf.LayersModel, { imageShape, classes }: ModelInput): void {
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
