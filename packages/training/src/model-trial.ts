/**
 * What only running a model shows: it is run once, in evaluation, on two made-up images, before anything is prepared. Layers that are built at their first
 * call are built here, where initial weights follow from the seed.
 */
import { tf } from "@ringmaster/backend";
import type { Model } from "./model.ts";
import { TrainingError } from "./training-error.ts";

const samples = 2;

/**
 * @returns the variables that the model computes with
 * @throws TrainingError MODEL_UNSUPPORTED: no logits, or probabilities instead
 */
export function tryModel(
  apply: Model["apply"],
  { imageShape, classes }: Pick<Model, "imageShape" | "classes">,
): ReadonlySet<tf.Variable> {
  const read = new Set<tf.Variable>();
  tf.tidy(() => {
    const pixels = imageShape.reduce((product, size) => product * size, samples);
    const images = tf.sin(tf.reshape(tf.range(0, pixels), [samples, ...imageShape]));
    const logits: unknown = watchingVariables(read, () => apply(images, false));
    const isTensor = logits instanceof tf.Tensor;
    if (!isTensor || logits.shape.join() !== [samples, classes].join() || logits.dtype !== "float32") {
      const expected = `expected float32 logits of shape [${samples}, ${classes}] for ${samples} images`;
      throw unsupported(`${expected}, found ${describeResult(logits)}`);
    }
    if (areProbabilities(logits)) {
      const advice = "leave softmax out; the loss applies it itself, in a numerically stable way";
      throw unsupported(`expected logits, found probabilities (each sample's add up to 1): ${advice}`);
    }
  });
  return read;
}

/**
 * A variable that the model reads and that is none of its weights would keep its first value.
 * @throws TrainingError MODEL_UNSUPPORTED
 */
export function checkVariables({ parameters, statistics }: Model, read: ReadonlySet<tf.Variable>): void {
  const known = new Set([...parameters, ...statistics].map(({ variable }) => variable));
  const stray = [...read].find((variable) => variable.trainable && !known.has(variable));
  if (stray === undefined) return;
  const found = `found ${stray.name} [${stray.shape.join(", ")}] outside of them, where it would never change`;
  const advice =
    "make it with addWeight in a layer of your own, have a layer that holds others return their trainableWeights, name it in a functionModel's parameters, or, if it is to stay as it is, use tf.variable(value, false)";
  throw unsupported(`expected every variable that it reads among its weights, ${found}: ${advice}`);
}

/** What a function returned that should have returned something else. */
export function describeResult(found: unknown): string {
  if (found instanceof tf.Tensor) return `a ${found.dtype} tensor of shape [${found.shape.join(", ")}]`;
  if (found instanceof Promise) return "a promise: the function must not be async";
  if (Array.isArray(found)) return `a list of ${found.length}`;
  return found === undefined ? "nothing: does it return?" : `a value of type ${found === null ? "null" : typeof found}`;
}

/** Logits could add up to 1 as well, but not of two unlike images, and none of them negative. */
function areProbabilities(logits: tf.Tensor): boolean {
  const rows = (logits as tf.Tensor2D).arraySync();
  const total = (row: readonly number[]) => row.reduce((sum, value) => sum + value, 0);
  return rows.every((row) => row.every((value) => value >= 0) && Math.abs(total(row) - 1) < 1e-4);
}
/** Collects the variables that are operands of an op while `action` runs. */
function watchingVariables<Result>(read: Set<tf.Variable>, action: () => Result): Result {
  const engine = tf.engine();
  const { runKernel } = engine;
  engine.runKernel = (name, inputs, attrs) => {
    for (const input of Object.values(inputs)) if (input instanceof tf.Variable) read.add(input);
    return runKernel.call(engine, name, inputs, attrs) as never;
  };
  try {
    return action();
  } finally {
    engine.runKernel = runKernel;
  }
}

const unsupported = (message: string): TrainingError => new TrainingError("MODEL_UNSUPPORTED", `model: ${message}`);
