/** Options of tf.layers' layers that have no effect where Ringmaster, or tf.layers itself, trains: another model would be trained without a word. */
import type { tf } from "@ringmaster/backend";
import { TrainingError } from "./training-error.ts";

type Layer = tf.layers.Layer;
interface Obstacle {
  readonly found: string;
  readonly advice: string;
}
type Check = (layer: Layer) => Obstacle | undefined;

const field = (object: object, name: string): unknown => Reflect.get(object, name);

/** tf.layers projects a weight whenever its own optimizers assign it; Ringmaster's work on flat buffers. */
const constraint: Check = (layer) => {
  const constrained = layer.trainableWeights.find((weight) => field(weight, "constraint") != null);
  if (!constrained) return undefined;
  const weight = constrained.originalName.replace(/^.*\//, "");
  const advice = "remove it; a regularizer, or the optimizer's weightDecay, keeps weights small";
  return { found: `a constraint on ${weight}, which no optimizer here applies`, advice };
};

/** The state would be the one of whatever samples the seat saw before. */
const stateful: Check = (layer) =>
  field(layer, "_stateful") === true
    ? { found: "stateful: true", advice: "remove it: a sample must not depend on the samples before it" }
    : undefined;

const transposedDilation: Check = (layer) => {
  const rates = [field(layer, "dilationRate") ?? 1].flat();
  if (!layer.getClassName().endsWith("Transpose") || rates.every((rate) => rate === 1)) return undefined;
  return {
    found: `dilationRate ${rates.join(" x ")}, which tf.layers ignores`,
    advice: "remove it, or dilate an upsampled conv2d",
  };
};

/** tf.layers adds it along another axis than the channels'. */
const separableBias: Check = (layer) => {
  const isMeant = layer.getClassName() === "SeparableConv2D" && field(layer, "dataFormat") === "channelsFirst";
  if (!isMeant || field(layer, "useBias") !== true) return undefined;
  return {
    found: "channelsFirst with a bias, which tf.layers adds along another axis",
    advice: "set useBias: false, or use channelsLast",
  };
};

const checks: readonly Check[] = [constraint, stateful, transposedDilation, separableBias];

/** @throws TrainingError MODEL_UNSUPPORTED, naming the layer */
export function checkOptions(layers: readonly Layer[], nameOf: (name: string) => string): void {
  for (const layer of layers) {
    const obstacle = checks.map((check) => check(layer)).find((each) => each !== undefined);
    if (!obstacle) continue;
    const which = `layer ${nameOf(layer.name)} (${layer.getClassName()})`;
    const message = `${which}: expected options that take effect in training, found ${obstacle.found}; ${obstacle.advice}`;
    throw new TrainingError("MODEL_UNSUPPORTED", message);
  }
}
