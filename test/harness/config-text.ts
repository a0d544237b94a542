import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { exampleConfig } from "./run-files.ts";

/** Expressions in place of those of a config that is right. */
export interface ConfigParts {
  readonly data?: string;
  readonly model?: string;
  /** Further fields, e.g. `colour: "red",`. */
  readonly more?: string;
}

const goodData = "syntheticImages({ imageShape: [8, 8, 1], classes: 10, train: 64, test: 16, seed: 1 })";

/** A model over `inputShape`, which ends in `last`. */
export const modelText = (inputShape: string, last: string): string =>
  `({ imageShape, classes }) => tf.sequential({ layers: [tf.layers.flatten({ inputShape: ${inputShape} }), ${last}] })`;

/** A config of a run of two steps whose parts may be wrong. */
export const configText = ({
  data = goodData,
  model = modelText("imageShape", "tf.layers.dense({ units: classes })"),
  more = "",
}: ConfigParts = {}): string => `import { defineTraining, fashionMnist, functionModel, mnist, sgd, syntheticImages, tf } from "ringmaster";

export default defineTraining({
  data: ${data},
  batchSize: 32,
  epochs: 1,
  validation: { count: 0 },
  optimizer: sgd({ learningRate: 0.01 }),
  model: ${model},
  ${more}
});
`;

/** The example's config over MNIST's files in another folder. */
export const exampleText = (example: string, mnistFolder: string): string =>
  `import { mnist } from "ringmaster";
import example from ${JSON.stringify(exampleConfig(example))};

export default { ...example, data: mnist({ folder: ${JSON.stringify(mnistFolder)} }) };
`;

/** @returns the file's path. */
export function writeConfig(folder: string, name: string, text: string): string {
  const path = join(folder, `${name}.config.ts`);
  writeFileSync(path, text);
  return path;
}
