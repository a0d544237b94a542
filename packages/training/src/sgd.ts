import type { OptimizerKernels } from "./optimizer-kernels.ts";
import type { UpdateRange } from "./optimizer-range.ts";
import { expectHyperparameter } from "./optimizer-values.ts";
import { TrainingError } from "./training-error.ts";

/**
 * Stochastic gradient descent as plain data, in the form of torch.optim.SGD with dampening 0: the buffer is
 * `momentum x buffer + gradient`, the learning rate stays outside it.
 */
export interface SgdSpec {
  readonly kind: "sgd";
  readonly learningRate: number;
  /** Decay a step of the momentum buffer; 0: there is no buffer. */
  readonly momentum: number;
  /** Look one step of momentum ahead (Sutskever et al., 2013). */
  readonly nesterov: boolean;
  /** This much of the parameter is added to its mean gradient. */
  readonly weightDecay: number;
}

/**
 * SGD; momentum 0, nesterov false and weightDecay 0 unless given. The learning rate has no default that suits most models.
 *
 * @throws TrainingError `INVALID_OPTIMIZER`
 */
export function sgd(options: Pick<SgdSpec, "learningRate"> & Partial<Omit<SgdSpec, "kind" | "learningRate">>): SgdSpec {
  const { learningRate, momentum = 0, nesterov = false, weightDecay = 0 } = options;
  const spec: SgdSpec = { kind: "sgd", learningRate, momentum, nesterov, weightDecay };
  checkSgd(spec);
  return spec;
}

export function checkSgd(spec: SgdSpec): void {
  expectHyperparameter("sgd learningRate", spec.learningRate, "at least 0");
  expectHyperparameter("sgd momentum", spec.momentum, "at least 0 and below 1");
  expectHyperparameter("sgd weightDecay", spec.weightDecay, "at least 0");
  if (spec.nesterov && spec.momentum === 0) {
    throw new TrainingError("INVALID_OPTIMIZER", "sgd nesterov: expected a momentum above 0, found 0: set momentum");
  }
}

/** torch's name, so that a saved state reads as one of torch's. */
export function sgdSlots(spec: SgdSpec): readonly string[] {
  return spec.momentum === 0 ? [] : ["momentum_buffer"];
}

/** torch sets the buffer to the gradient at step 1; here it starts as zeros, and momentum x 0 + gradient is the same: no special case. */
export function updateSgd(kernels: OptimizerKernels, spec: SgdSpec, range: UpdateRange): void {
  const { learningRate, momentum, nesterov, weightDecay } = spec;
  const n = range.end - range.start;
  const skip = 4 * range.start;
  const w = range.parameters + skip;
  const g = range.gradients + skip;
  const scale = 1 / range.samples;
  const [buffer] = range.slots;
  if (buffer === undefined) kernels.sgd(w, g, n, scale, weightDecay, learningRate);
  else kernels.sgdMomentum(w, g, buffer + skip, n, scale, weightDecay, learningRate, momentum, nesterov);
}
