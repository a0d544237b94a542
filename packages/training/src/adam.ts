import type { OptimizerKernels } from "./optimizer-kernels.ts";
import type { UpdateRange } from "./optimizer-range.ts";
import { expectHyperparameter } from "./optimizer-values.ts";
import { power } from "./power.ts";

/**
 * Adam as plain data (Kingma and Ba, 2015, arXiv:1412.6980), in the form of torch.optim.Adam without amsgrad: bias-corrected moments,
 * `epsilon` outside the root, weight decay as an L2 term in the gradient (not AdamW's).
 */
export interface AdamSpec {
  readonly kind: "adam";
  readonly learningRate: number;
  /** Decay a step of the gradient's running mean. */
  readonly beta1: number;
  /** Decay a step of the squared gradient's running mean. */
  readonly beta2: number;
  /** Added to the denominator. */
  readonly epsilon: number;
  /** This much of the parameter is added to its mean gradient. */
  readonly weightDecay: number;
}

/** torch's names, so that a saved state reads as one of torch's. */
export const ADAM_SLOTS = ["exp_avg", "exp_avg_sq"] as const;

/**
 * Adam with torch's defaults: learningRate 0.001, beta1 0.9, beta2 0.999, epsilon 1e-8, weightDecay 0.
 *
 * @throws TrainingError `INVALID_OPTIMIZER`. `epsilon` must stay above 0 in float32, or a parameter that never had a gradient became NaN.
 */
export function adam(options: Partial<Omit<AdamSpec, "kind">> = {}): AdamSpec {
  const { learningRate = 0.001, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0 } = options;
  const spec: AdamSpec = { kind: "adam", learningRate, beta1, beta2, epsilon, weightDecay };
  checkAdam(spec);
  return spec;
}

export function checkAdam(spec: AdamSpec): void {
  expectHyperparameter("adam learningRate", spec.learningRate, "at least 0");
  expectHyperparameter("adam beta1", spec.beta1, "at least 0 and below 1");
  expectHyperparameter("adam beta2", spec.beta2, "at least 0 and below 1");
  expectHyperparameter("adam epsilon", spec.epsilon, "above 0 in float32");
  expectHyperparameter("adam weightDecay", spec.weightDecay, "at least 0");
}

/** Scalars are float64 made of + - x / and square root, and rounded to float32 once, as they enter the kernel. */
export function updateAdam(kernels: OptimizerKernels, spec: AdamSpec, range: UpdateRange): void {
  const skip = 4 * range.start;
  const [expAvg = 0, expAvgSq = 0] = range.slots;
  kernels.adam(
    range.parameters + skip,
    range.gradients + skip,
    expAvg + skip,
    expAvgSq + skip,
    range.end - range.start,
    1 / range.samples,
    spec.weightDecay,
    1 - spec.beta1,
    spec.beta2,
    1 - spec.beta2,
    spec.learningRate / (1 - power(spec.beta1, range.step)),
    Math.sqrt(1 - power(spec.beta2, range.step)),
    spec.epsilon,
  );
}
