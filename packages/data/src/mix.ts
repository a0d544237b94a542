/**
 * MurmurHash3 (x86, 32 bits; Austin Appleby, public domain) over whole words: `finish(absorb(absorb(seed, word), word), 8)`.
 *
 * Receipts, permutations and synthetic noise rest on it, so its bits are part of every run's result. Each round is a bijection of the
 * word for a fixed state and of the state for a fixed word, and so is the finish: two inputs that differ in one word never collide.
 */
export function absorb(state: number, word: number): number {
  const multiplied = Math.imul(word, 0xcc9e2d51);
  const scrambled = Math.imul((multiplied << 15) | (multiplied >>> 17), 0x1b873593);
  const mixed = state ^ scrambled;
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}

/** Two words: a safe integer of either sign, low half first. */
export function absorbInteger(state: number, value: number): number {
  return absorb(absorb(state, value | 0), Math.floor(value / 0x1_0000_0000) | 0);
}

/** The hash in [0, 2^32) of all that was absorbed; `bytes` is how much that was. */
export function finish(state: number, bytes: number): number {
  let hash = state ^ bytes;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
