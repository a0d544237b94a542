/**
 * Random numbers inside a program, keyed by (seed, step, slot in the global batch): what a sample sees does not depend on who computes it.
 *
 * All backends draw one stream, that of TensorFlow's StatelessRandomUniformV2 and StatelessRandomNormalV2 with Philox (alg = 1), which are counter based:
 * element i of a draw is made from counter + floor(i / 4), lane i mod 4 (Salmon et al., SC 2011). A seat that works the samples [first, end) of a global
 * batch therefore gets exactly its slice of the whole batch's numbers by starting at counter floor(first * e / 4), e elements a sample, and dropping the
 * first (first * e) mod 4 elements. The key is (seed, step); the counter's high word is the number of the draw within the body, so that two layers
 * never share numbers.
 */
import type tf from "#tfjs";
import { BackendError } from "./backend-error.ts";
import type { RandomKey } from "./compute-backend.ts";

export type Distribution = "uniform" | "normal";

/** What a backend makes a body's random numbers with. */
export interface StepDraws {
  /** The next draw: float32 of `shape`, whose first dimension is the seat's samples. */
  draw(distribution: Distribution, shape: readonly number[]): tf.Tensor;
}

export const philoxLanes = 4;

/** Where draw number `index` starts, for samples of `elementsPerSample` elements. */
export interface DrawStart {
  readonly key: bigint;
  readonly counter: readonly [low: bigint, high: bigint];
  /** Elements to leave out, 0 to 3. */
  readonly dropped: number;
}

export function drawStart({ seed, step, firstSlot }: RandomKey, index: number, elementsPerSample: number): DrawStart {
  const first = firstSlot * elementsPerSample;
  return {
    key: (BigInt(seed) << 32n) | BigInt(step >>> 0),
    counter: [BigInt(Math.floor(first / philoxLanes)), BigInt(index)],
    dropped: first % philoxLanes,
  };
}

let current: StepDraws | undefined;

/**
 * Runs a program's body with `draws` behind {@link keyedUniform} and {@link keyedNormal}. Math.random throws meanwhile: a number drawn there would depend
 * on who computes the sample, and in a captured step it would be the same for ever.
 */
export function withDraws<Result>(draws: StepDraws, body: () => Result): Result {
  const random = Math.random;
  Math.random = () => {
    const advice = "use keyedUniform or keyedNormal, or a layer that Ringmaster keys (dropout, Gaussian noise)";
    throw new BackendError(
      "RANDOM_IN_STEP",
      `the model draws a random number in JavaScript inside the training step; ${advice}`,
    );
  };
  current = draws;
  try {
    return body();
  } finally {
    current = undefined;
    Math.random = random;
  }
}

/** Whether a program's body runs in this thread: random layers draw keyed numbers then. */
export const isInProgram = (): boolean => current !== undefined;

/** Uniform in [0, 1), float32, keyed by (seed, step, slot, draw); `shape[0]` is the seat's samples. Inside a program's body only. */
export const keyedUniform = (shape: readonly number[]): tf.Tensor => drawn("uniform", shape);

/** Standard normal, float32, keyed like {@link keyedUniform}. */
export const keyedNormal = (shape: readonly number[]): tf.Tensor => drawn("normal", shape);

function drawn(distribution: Distribution, shape: readonly number[]): tf.Tensor {
  if (!current) throw new BackendError("RANDOM_IN_STEP", "keyed random numbers exist inside a program's body only");
  return current.draw(distribution, shape);
}
