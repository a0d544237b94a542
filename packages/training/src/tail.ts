/**
 * The tail of a step's last bucket: what a seat adds to the sum besides gradients. Always float32.
 *
 *     [loss, correct, samples, plan, receipt x 4, overflowed, zeros to 16 floats, statistics x samples ...]
 */
export interface Tail {
  /** Sum of the samples' losses, regularisers included. */
  readonly loss: number;
  /** Samples whose largest logit is their label's. */
  readonly correct: number;
  readonly samples: number;
  /** Sum of the seats' plan words (`planWord`); S times a plan's: this step is the last before it takes effect. */
  readonly plan: number;
  readonly receipt: readonly [number, number, number, number];
  /** Seats whose gradients are not all finite: in float16 the loss scale was too high, in any other precision the model or its data are at fault. */
  readonly overflowed: number;
}

/** Floats before the statistics. */
export const tailFields = 16;

const planField = 3;

export function writeTail(target: Float32Array, tail: Tail): void {
  target.set([tail.loss, tail.correct, tail.samples, tail.plan, ...tail.receipt, tail.overflowed]);
}

/** Says anew, of a seat that is computed already, which plan its rank has now. */
export function writePlan(target: Float32Array, plan: number): void {
  target[planField] = plan;
}

export function readTail(source: Float32Array): Tail {
  const [loss = 0, correct = 0, samples = 0, plan = 0, a = 0, b = 0, c = 0, d = 0, overflowed = 0] = source;
  return { loss, correct, samples, plan, receipt: [a, b, c, d], overflowed };
}
