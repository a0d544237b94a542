import { createHash } from "node:crypto";
import fc from "fast-check";
import t from "tap";
import { permutation } from "../src/index.ts";
import { absorb, absorbInteger, finish } from "../src/mix.ts";

t.test("the bits of permutations do not change", async (t) => {
  // From an independent implementation in Python: xoroshiro128+ (24, 16, 37) in 64-bit arithmetic, its state four murmur3 hashes by mmh3.
  t.same([...permutation(10)], [0, 8, 3, 1, 4, 2, 5, 7, 9, 6]);
  t.same([...permutation(16, 2, 7, 0)], [7, 12, 6, 13, 2, 3, 1, 10, 5, 0, 11, 15, 8, 4, 9, 14]);
  t.same([...permutation(16, 2, 7, 1)], [5, 4, 10, 1, 15, 3, 9, 7, 13, 11, 6, 0, 2, 14, 12, 8]);
  t.same([...permutation(12, 2, -3, 2 ** 40)], [10, 0, 3, 6, 8, 11, 5, 7, 1, 9, 2, 4]);
  const hash = createHash("sha256")
    .update(permutation(60_000, 2, 42, 3))
    .digest("hex");
  t.equal(hash, "823cb2f5215ac2fc9529626b6a6995b8b4dd9f3dc4b2b86ca4b6e8e1928fa369");
});

t.test("a permutation has every number once, and the same key gives it again", async () => {
  fc.assert(
    fc.property(fc.nat(300), fc.array(fc.maxSafeInteger(), { maxLength: 3 }), (count, key) => {
      const order = permutation(count, ...key);
      const again = permutation(count, ...key);
      return (
        order.length === count && new Set(order).size === count && order.every((n, i) => n < count && n === again[i])
      );
    }),
  );
});

t.test("keys that differ in any number, in order or in length give other orders", async (t) => {
  const keys = [[], [0], [0, 0], [0, 0, 0], [1], [0, 1], [1, 0], [-1], [2 ** 32], [2 ** 52], [7, 1], [7, 2]];
  t.equal(new Set(keys.map((key) => permutation(50, ...key).join())).size, keys.length);
});

t.test("each number is in each place equally often, under neighbouring keys too", async (t) => {
  const [count, draws] = [8, 8000];
  const seen = new Uint32Array(count * count);
  for (let key = 0; key < draws; key++) {
    permutation(count, 1, key).forEach((n, place) => {
      seen[place * count + n] = (seen[place * count + n] ?? 0) + 1;
    });
  }
  // Chi-squared of 49 degrees of freedom: above 95 with a chance of 1 in 10,000; the keys are fixed, so it is so or it is not.
  const chiSquared = seen.reduce((sum, n) => sum + (n - draws / count) ** 2 / (draws / count), 0);
  t.ok(chiSquared < 95, `chi-squared ${chiSquared.toFixed(1)}`);
});

t.test("what is not a count or a key is refused", async (t) => {
  for (const count of [-1, 1.5, Number.NaN, 2 ** 31 + 1])
    t.throws(() => permutation(count, 1), { code: "BAD_ARGUMENT" });
  for (const key of [0.5, Number.NaN, 2 ** 53]) t.throws(() => permutation(3, key), { code: "BAD_ARGUMENT" });
});

t.test("the mix is MurmurHash3 x86 32", async (t) => {
  // Vectors: https://stackoverflow.com/a/31929528 (Ian Boyd), those of one whole word.
  const vectors: readonly (readonly [word: number, seed: number, hash: number])[] = [
    [0xffffffff, 0, 0x76293b50],
    [0x87654321, 0, 0xf55b516b],
    [0x87654321, 0x5082edee, 0x2362f9de],
    [0, 0, 0x2362f9de],
    [0x61616161, 0x9747b28c, 0x5a97808a],
    [0x64636261, 0x9747b28c, 0xf0478627],
  ];
  for (const [word, seed, hash] of vectors) t.equal(finish(absorb(seed, word), 4), hash, `${word} from ${seed}`);
});

t.test("an integer goes in as 64 bits in two's complement, low half first", async (t) => {
  // mmh3 (Python): mmh3.hash(struct.pack("<q", key), lane, signed=False) of 1 and lanes 0 to 3.
  const expected = [1392991556, 3741873941, 617539533, 2920077748];
  t.same(
    [0, 1, 2, 3].map((lane) => finish(absorbInteger(lane, 1), 8)),
    expected,
  );
  t.equal(absorbInteger(5, -1), absorb(absorb(5, 0xffffffff), 0xffffffff));
  t.equal(absorbInteger(5, 2 ** 40 + 7), absorb(absorb(5, 7), 256));
  t.not(absorbInteger(5, 2 ** 32), absorbInteger(5, 0));
});
