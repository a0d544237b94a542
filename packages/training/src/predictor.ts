/** A trained model for use: pixels in, probabilities out. */
import { openBackend, tf } from "@ringmaster/backend";
import { type Normalisation, pixelTable } from "@ringmaster/data";
import { buildModel } from "./build-model.ts";
import type { TrainingDefinition } from "./definition.ts";
import type { ModelInput } from "./model.ts";
import { TrainingError } from "./training-error.ts";

export interface PredictorOptions {
  readonly definition: TrainingDefinition;
  readonly input: ModelInput;
  /** Of the training set. */
  readonly normalisation: Normalisation;
  /** A checkpoint's model: parameters, then statistics. */
  readonly weights: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly data: Float32Array;
  }[];
}

export interface Predictor {
  /** @param images uint8 [count, height, width, channels] @returns [count][classes], each row adding up to 1 */
  predict(images: Uint8Array): Promise<number[][]>;
}

/** @throws TrainingError CHECKPOINT_MISMATCH when the weights are not the model's. */
export async function createPredictor({
  definition,
  input,
  normalisation,
  weights,
}: PredictorOptions): Promise<Predictor> {
  await openBackend({ backend: definition.backend, device: definition.device });
  const model = buildModel(definition.model, input, definition.seed);
  const variables = [...model.parameters, ...model.statistics];
  variables.forEach(({ name, shape, variable }, index) => {
    const weight = weights[index];
    if (weight === undefined || weight.name !== name || weight.shape.join() !== shape.join()) {
      const found = weight ? `${weight.name} [${weight.shape.join(", ")}]` : "nothing";
      throw new TrainingError(
        "CHECKPOINT_MISMATCH",
        `the checkpoint is of another model: expected ${name} [${shape.join(", ")}], found ${found}`,
      );
    }
    variable.assign(tf.tensor(weight.data, [...shape]));
  });
  const table = pixelTable(normalisation);
  const [height, width, channels] = input.imageShape;
  return {
    async predict(images) {
      const pixels = Float32Array.from(images, (value, index) => table[(index % channels) * 256 + value] ?? 0);
      const count = pixels.length / (height * width * channels);
      const probabilities = tf.tidy(() => {
        const logits = model.apply(tf.tensor4d(pixels, [count, height, width, channels]), false);
        return tf.softmax(logits);
      });
      const rows = await probabilities.array();
      probabilities.dispose();
      return rows;
    },
  };
}
