import { fileURLToPath } from "node:url";

/** A model that is timed; its config lies beside this file. */
export type BenchModel = "simple-cnn" | "resnet-20" | "mlp" | "deep-mlp";

export const configOf = (model: BenchModel): string => fileURLToPath(new URL(`./${model}.config.js`, import.meta.url));
