/** A tf.layers model as a training step sees it. */
import { tf } from "@ringmaster/backend";
import { canonicalNames } from "./canonical-names.ts";
import { freezeBatchNorm } from "./fused-batch-norm.ts";
import { checkOptions } from "./layer-checks.ts";
import { inside, layersIn } from "./layer-tree.ts";
import type { Model, ModelInput, NamedVariable } from "./model.ts";
import { checkVariables, tryModel } from "./model-trial.ts";
import { explained, nameFailures } from "./named-failures.ts";
import { TrainingError } from "./training-error.ts";

/** @throws TrainingError MODEL_UNSUPPORTED */
export function ofLayers(layers: tf.LayersModel, input: ModelInput): Model {
  checkLayers(layers, input);
  const nameOf = canonicalNames(layers);
  const all = layersIn(layers);
  const parts = all.filter((layer) => layer !== layers);
  checkOptions(parts, nameOf);
  nameFailures(parts, nameOf);
  freezeBatchNorm(all.filter((layer) => !layer.trainable).flatMap(layersIn));
  const describe = (weight: tf.LayersModel["weights"][number]): NamedVariable => ({
    name: nameOf(weight.originalName),
    shape: weight.shape.map(Number),
    variable: weight.read() as tf.Variable,
  });
  const apply = (images: tf.Tensor, training: boolean) =>
    explained(() => layers.apply(images, { training }) as tf.Tensor2D);
  // Before the weights are listed: layers inside of custom layers may be built by their first call.
  const read = tryModel(apply, input);
  const model: Model = {
    ...input,
    parameters: distinct(layers.trainableWeights).map(describe),
    statistics: distinct(layers.nonTrainableWeights).map(describe),
    apply,
    // Asked of each layer once: of a shared one tf.layers counts the penalty at each use, of a recurrent one's cell not at all.
    penalties: () => all.flatMap(penaltiesOf),
  };
  checkVariables(model, read);
  return model;
}

type Weights = tf.LayersModel["weights"];

/** A layer that two models of the model share lists its weights in both. */
const distinct = (weights: Weights): Weights => [...new Set(weights)];

function penaltiesOf(layer: tf.layers.Layer): tf.Scalar[] {
  if (inside(layer).length === 0) return layer.calculateLosses();
  const own: unknown = Reflect.get(layer, "_losses");
  return Array.isArray(own) ? own.map((loss: () => tf.Scalar) => loss()) : [];
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
