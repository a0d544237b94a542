/** A model that is a plain function of tensors. */
import { isInProgram, tf } from "@ringmaster/backend";
import { masked } from "./keyed-layers.ts";
import type { Model, ModelInput } from "./model.ts";
import { checkVariables, tryModel } from "./model-trial.ts";
import { explained } from "./named-failures.ts";
import { TrainingError } from "./training-error.ts";

/** Initial values by name; names may have slashes, as in "head/kernel". */
export type InitialParameters = Readonly<Record<string, tf.Tensor>>;

export interface FunctionModel<Parameters extends InitialParameters = InitialParameters> {
  /** What is trained. Random initial values follow from the run's seed. */
  readonly parameters: Parameters;
  /**
   * From images [samples, height, width, channels] to logits [samples, classes].
   * `training` is false in evaluation and prediction, where nothing random may happen.
   */
  readonly apply: (
    images: tf.Tensor4D,
    parameters: { readonly [Name in keyof Parameters]: tf.Variable },
    training: boolean,
  ) => tf.Tensor2D;
}

/** Gives a function model its types: `functionModel({ parameters: { kernel }, apply: (images, { kernel }) => ... })`. */
export const functionModel = <Parameters extends InitialParameters>(model: FunctionModel<Parameters>): FunctionModel =>
  model as unknown as FunctionModel;

export const isFunctionModel = (value: unknown): value is FunctionModel =>
  typeof value === "object" &&
  value !== null &&
  "apply" in value &&
  typeof value.apply === "function" &&
  "parameters" in value;

/** @throws TrainingError MODEL_UNSUPPORTED */
export function ofFunction(made: FunctionModel, input: ModelInput): Model {
  const entries = Object.entries(made.parameters);
  const unfit = entries.find(([, initial]) => !(initial instanceof tf.Tensor) || initial.dtype !== "float32");
  if (unfit) throw unsupported(`expected float32 tensors as parameters, found ${unfit[0]} of another kind`);
  if (entries.length === 0) throw unsupported("expected parameters to train, found none");
  const variables = Object.fromEntries(entries.map(([name, initial]) => [name, tf.variable(initial)]));
  const apply = (images: tf.Tensor, training: boolean) =>
    explained(() => made.apply(images as tf.Tensor4D, variables, training));
  const model: Model = {
    ...input,
    parameters: Object.entries(variables).map(([name, variable]) => ({ name, shape: variable.shape, variable })),
    statistics: [],
    apply,
    penalties: () => [],
  };
  checkVariables(model, tryModel(apply, input));
  return model;
}

const unsupported = (message: string): TrainingError => new TrainingError("MODEL_UNSUPPORTED", `model: ${message}`);

/**
 * Inverted dropout for function models, keyed like the layer: what a sample loses depends on (seed, step, slot in the global batch).
 * @param rate the share that is dropped, 0 to below 1
 */
export function dropout<Tensor extends tf.Tensor>(input: Tensor, rate: number, training: boolean): Tensor {
  return training && rate > 0 && isInProgram() ? (masked(input, rate, input.shape) as Tensor) : input;
}
