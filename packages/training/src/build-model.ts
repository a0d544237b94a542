import { tf } from "@ringmaster/backend";
import { heedDilation } from "./dilated-layers.ts";
import { type FunctionModel, isFunctionModel, ofFunction } from "./function-model.ts";
import { fuseBatchNorm } from "./fused-batch-norm.ts";
import { keyRandomLayers } from "./keyed-layers.ts";
import { ofLayers } from "./layers-model.ts";
import type { Model, ModelInput } from "./model.ts";
import { describeResult } from "./model-trial.ts";
import { TrainingError } from "./training-error.ts";

/** What a config's `model` may return. */
export type MadeModel = tf.LayersModel | FunctionModel;

/**
 * Builds the user's model with initial weights that are a function of `seed`: tf.layers' initialisers draw their seeds from Math.random, which is
 * replaced by a seeded generator meanwhile.
 * @throws TrainingError MODEL_UNSUPPORTED with what was expected of the model and what was found.
 */
export function buildModel(make: (input: ModelInput) => MadeModel, input: ModelInput, seed: number): Model {
  keyRandomLayers();
  fuseBatchNorm();
  heedDilation();
  const model = withSeededRandom(seed, () => describeModel(call(make, input), input));
  checkNames([...model.parameters, ...model.statistics].map(({ name }) => name));
  return model;
}

function describeModel(made: unknown, input: ModelInput): Model {
  if (made instanceof tf.LayersModel) return ofLayers(made, input);
  if (isFunctionModel(made)) return ofFunction(made, input);
  const expected = "a function that returns a tf.LayersModel (tf.sequential, tf.model) or a functionModel";
  throw new TrainingError("MODEL_UNSUPPORTED", `model: expected ${expected}, found ${describeResult(made)}`);
}

function call(make: (input: ModelInput) => MadeModel, input: ModelInput): MadeModel {
  try {
    return make(input);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TrainingError("MODEL_UNSUPPORTED", `model: the config's function threw: ${reason}`, { cause: error });
  }
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
