/**
 * What a simulated run computes: numbers of 53 bits that stand for tensors, mixed as a training mixes them.
 *
 * A seat's gradient follows from the state, the step and the samples that the seat was given; a chunk is folded over the seats in its own order; the next state
 * follows from the state and all that was reduced. So a seat that is wrong, stale, missing or doubled, a fold in another order, an update that runs twice or too
 * early all give other numbers, and what an undisturbed run holds after any step is known without running one.
 */
import { createSampler, expectedReceipt, receiptLimbs, type Sampler } from "@ringmaster/data";
import type { WorkerInput } from "@ringmaster/worker";

export interface ContentOptions {
  readonly seed: number;
  readonly datasetSize: number;
  readonly batchSize: number;
  readonly seats: number;
}

/** What a seat brings to a step beside gradients; sums over seats. */
export type Tail = Extract<WorkerInput, { type: "stepHeld" }>["tail"];

/** Two words of 32 bits make a number that a double holds exactly. */
export function mix(a: number, b: number): number {
  let low = (a >>> 0) ^ Math.imul(b >>> 0, 0x9e3779b1);
  let high = ((a / 2 ** 32) >>> 0) ^ Math.imul(((b / 2 ** 32) >>> 0) + 0x7f4a7c15, 0x85ebca6b);
  low = Math.imul(low ^ (low >>> 15) ^ high, 0x2c1b3c6d);
  high = Math.imul(high ^ (high >>> 13) ^ low, 0x297a2d39);
  low = Math.imul(low ^ (low >>> 12) ^ high, 0x9c1e2f4b);
  high = (high ^ (high >>> 15) ^ low) >>> 0;
  return (high >>> 11) * 2 ** 32 + ((low ^ (low >>> 16)) >>> 0);
}

export const noTail: Tail = { loss: 0, correct: 0, samples: 0, plan: 0, receipt: [0, 0, 0, 0], overflowed: 0 };

export const addTails = (a: Tail, b: Tail): Tail => ({
  loss: a.loss + b.loss,
  correct: a.correct + b.correct,
  samples: a.samples + b.samples,
  plan: a.plan + b.plan,
  receipt: [
    a.receipt[0] + b.receipt[0],
    a.receipt[1] + b.receipt[1],
    a.receipt[2] + b.receipt[2],
    a.receipt[3] + b.receipt[3],
  ],
  overflowed: a.overflowed + b.overflowed,
});

/** What a seat's buffer holds once it is computed. */
export interface Given {
  readonly gradient: number;
  readonly tail: Tail;
}

/** Steps count from 0, as in the sampler: `step` is the number of steps done before it. */
export class Content {
  readonly sampler: Sampler;
  readonly #seats: number;
  readonly #seed: number;
  /** [steps done] of an undisturbed run. */
  readonly #states: number[];
  readonly #batches = new Map<number, Uint32Array>();
  readonly #expected = new Map<number, Pick<Tail, "samples" | "receipt">>();
  readonly #givens = new Map<string, Given>();
  readonly #folds = new Map<string, ReadonlyMap<number, readonly number[]>>();
  readonly #reduced = new Map<string, number>();

  constructor({ seed, datasetSize, batchSize, seats }: ContentOptions) {
    const sampleIds = Uint32Array.from({ length: datasetSize }, (_, id) => id);
    this.sampler = createSampler({ seed, sampleIds, batchSize, seats });
    this.#seats = seats;
    this.#seed = seed;
    this.#states = [mix(seed, 1)];
  }

  get seedState(): number {
    return mix(this.#seed, 1);
  }

  /** What a rank computes for a seat, from the state that it has. */
  give(state: number, step: number, seat: number): Given {
    return remembered(this.#givens, `${state}/${step}/${seat}`, 8 * this.#seats, () => {
      const { first, end } = this.sampler.seatSlots(step, seat);
      const ids = this.#batch(step).subarray(first, end);
      const gradient = mix(ids.reduce(mix, mix(state, step)), seat);
      const samples = ids.length;
      const correct = gradient % (samples + 1);
      return {
        gradient,
        tail: {
          loss: (gradient % 1000) * samples,
          correct,
          samples,
          plan: 0,
          receipt: receiptLimbs(step, first, ids),
          overflowed: 0,
        },
      };
    });
  }

  /** What an evaluation of a seat's blocks gives. */
  evaluate(state: number, split: "validation" | "test", seat: number): number {
    return mix(mix(state, split === "test" ? 7919 : 104_729), seat);
  }

  /** A bucket's part of a seat's gradient. */
  part(gradient: number, bucket: number): number {
    return mix(gradient, bucket + 1);
  }

  /** All of the reduced gradient in one number, the tail aside: what the fold of every chunk comes to, given what each seat brings. */
  reduce(gradients: readonly number[]): number {
    return gradients.reduce(mix, 3);
  }

  /** A seat's part onto the sum of those before it. */
  add(sum: number, part: number): number {
    return mix(sum, part);
  }

  /** [bucket][chunk]: the sum that must lie there in the end, given what each seat brings to it. */
  folds(parts: readonly number[], buckets: readonly number[]): ReadonlyMap<number, readonly number[]> {
    const count = this.#seats;
    const foldOf = (bucket: number, chunk: number): number => {
      const inOrder = Array.from({ length: count }, (_, k) => this.part(parts[(chunk + 1 + k) % count] ?? 0, bucket));
      return inOrder.reduce((sum, part) => this.add(sum, part));
    };
    return new Map(
      buckets.map((bucket) => [bucket, Array.from({ length: count }, (_, chunk) => foldOf(bucket, chunk))]),
    );
  }

  /** The same, of the step of an undisturbed run. */
  foldsOf(step: number, buckets: readonly number[]): ReadonlyMap<number, readonly number[]> {
    return remembered(this.#folds, `${step}`, 16, () =>
      this.folds(this.gradients(this.stateAfter(step), step), buckets),
    );
  }

  /** And of an evaluation after so many steps. */
  evaluationFoldsOf(
    steps: number,
    split: "validation" | "test",
    bucket: number,
  ): ReadonlyMap<number, readonly number[]> {
    return remembered(this.#folds, `${steps}/${split}`, 16, () => this.folds(this.evaluations(steps, split), [bucket]));
  }

  evaluations(steps: number, split: "validation" | "test"): number[] {
    const state = this.stateAfter(steps);
    return Array.from({ length: this.#seats }, (_, seat) => this.evaluate(state, split, seat));
  }

  update(state: number, reduced: number, optimizerStep: number, samples: number): number {
    return mix(mix(state, reduced), mix(optimizerStep, samples));
  }

  /** Of the state after so many steps of an undisturbed run. */
  stateAfter(steps: number): number {
    for (let step = this.#states.length - 1; step < steps; step++) {
      const state = this.#states[step] ?? 0;
      this.#states.push(this.update(state, this.reducedOf(state, step), step + 1, this.expected(step).samples));
    }
    return this.#states[steps] ?? 0;
  }

  reducedOf(state: number, step: number): number {
    return remembered(this.#reduced, `${state}/${step}`, 64, () => this.reduce(this.gradients(state, step)));
  }

  gradients(state: number, step: number): number[] {
    return Array.from({ length: this.#seats }, (_, seat) => this.give(state, step, seat).gradient);
  }

  /** Of the whole batch of a step. */
  tailOf(state: number, step: number): Tail {
    const tails = Array.from({ length: this.#seats }, (_, seat) => this.give(state, step, seat).tail);
    return tails.reduce(addTails, noTail);
  }

  expected(step: number): Pick<Tail, "samples" | "receipt"> {
    return remembered(this.#expected, step, 64, () => {
      const ids = this.#batch(step);
      return { samples: ids.length, receipt: expectedReceipt(step, ids) };
    });
  }

  #batch(step: number): Uint32Array {
    return remembered(this.#batches, step, 8, () => this.sampler.batch(step));
  }
}

/** Beyond `most` everything is forgotten: it can be made again. */
function remembered<Key, Value>(known: Map<Key, Value>, key: Key, most: number, make: () => Value): Value {
  const found = known.get(key);
  if (found !== undefined) return found;
  const value = make();
  if (known.size >= most) known.clear();
  known.set(key, value);
  return value;
}

/** 64 hex digits of a state and a text. */
export function hashOf(state: number, text: string): string {
  let a = 0x811c9dc5;
  let b = 0x01000193;
  for (let i = 0; i < text.length; i++) {
    a = Math.imul(a ^ text.charCodeAt(i), 0x01000193);
    b = Math.imul(b + text.charCodeAt(i), 0x9e3779b1) ^ (b >>> 13);
  }
  const hex = (word: number) => (word >>> 0).toString(16).padStart(8, "0");
  return `${state}`.padStart(32, "0") + hex(a) + hex(b) + hex(a ^ b) + hex(Math.imul(a, 31) + b);
}
