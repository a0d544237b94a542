/**
 * Numbers that look random and follow from a seed: xoshiro128** (Blackman and Vigna, 2018), its state drawn by splitmix32. Each part of a world has a
 * generator of its own, so that what one part draws moves nothing in another.
 */
export class Random {
  readonly #seed: number;
  readonly #state: Uint32Array;

  constructor(seed: number) {
    this.#seed = seed >>> 0;
    let weyl = this.#seed;
    this.#state = Uint32Array.from({ length: 4 }, () => {
      weyl = (weyl + 0x9e3779b9) >>> 0;
      return scramble(weyl);
    });
  }

  /** In [0, 1). */
  unit(): number {
    const state = this.#state;
    const [a = 0, b = 0, c = 0, d = 0] = state;
    const result = Math.imul(rotated(Math.imul(b, 5), 7), 9) >>> 0;
    state[2] = c ^ a;
    state[3] = d ^ b;
    state[1] = b ^ (state[2] ?? 0);
    state[0] = a ^ (state[3] ?? 0);
    state[2] = (state[2] ?? 0) ^ (b << 9);
    state[3] = rotated(state[3] ?? 0, 11);
    return result / 2 ** 32;
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.unit();
  }

  /** A whole number from 0 to `count` - 1. */
  below(count: number): number {
    return Math.floor(this.unit() * count);
  }

  chance(probability: number): boolean {
    return this.unit() < probability;
  }

  /** @throws RangeError where there is nothing to pick from */
  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new RangeError("expected something to pick from, found nothing");
    return item;
  }

  /** Time to the next of events that come by themselves, `mean` apart on average. */
  exponential(mean: number): number {
    return -mean * Math.log(1 - this.unit());
  }

  /** Another generator; the same one for the same name, whatever was drawn here before. */
  fork(name: number): Random {
    return new Random(scramble(this.#seed ^ scramble(name + 0x85ebca6b)));
  }
}

function scramble(word: number): number {
  let mixed = word >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

const rotated = (word: number, by: number): number => (word << by) | (word >>> (32 - by));
