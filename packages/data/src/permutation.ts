import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plusFromState } from "pure-rand/generator/xoroshiro128plus";
import { requireInteger } from "./integer.ts";
import { absorbInteger, finish } from "./mix.ts";

/** First number of a permutation's key: what it is for, so that one seed never orders two things alike. */
export const STREAM = { split: 1, epoch: 2 } as const;

/**
 * The numbers 0 to count - 1 in an order that the key decides, every order as likely as any other: Fisher-Yates (Durstenfeld, 1964) over
 * xoroshiro128+ with unbiased uniform integers.
 *
 * The generator's 128 bits of state are four hashes of the whole key. It is not seeded with one number: its first output would be that
 * number's complement, and neighbouring epochs would begin alike.
 *
 * @param key safe integers; keys of different lengths are different keys
 */
export function permutation(count: number, ...key: readonly number[]): Uint32Array {
  requireInteger("a permutation's count", count, 0, 2 ** 31);
  for (const part of key) requireInteger("each number of a permutation's key", part, Number.MIN_SAFE_INTEGER);

  const state = [0, 1, 2, 3].map((lane) => finish(key.reduce(absorbInteger, lane), 8 * key.length) | 0);
  if (!state.some(Boolean)) state[0] = 1; // The one state that the generator never leaves.
  const random = xoroshiro128plusFromState(state);

  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let last = count - 1; last > 0; last--) {
    const chosen = uniformInt(random, 0, last);
    const moved = order[last] as number;
    order[last] = order[chosen] as number;
    order[chosen] = moved;
  }
  return order;
}
