import type { tf } from "@ringmaster/backend";

/** A model as a training step sees it: variables in a fixed order under names that depend on the model alone. */
export interface Model {
  readonly parameters: readonly NamedVariable[];
  /** Variables that the step may rewrite but the optimizer does not touch, such as BatchNorm's moving statistics. */
  readonly statistics: readonly NamedVariable[];
  readonly classes: number;
  readonly imageShape: ImageShape;
  /** Images [samples, height, width, channels] to logits [samples, classes]. */
  readonly apply: (images: tf.Tensor, training: boolean) => tf.Tensor2D;
  /** Regularisers' losses, scalars. */
  readonly penalties: () => readonly tf.Scalar[];
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
