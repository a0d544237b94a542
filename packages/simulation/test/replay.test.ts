import t from "tap";
import { randomWorld, World } from "../src/index.ts";

t.test("a seed replays its world, event for event", async (t) => {
  for (const seed of [3, 7, 44]) {
    const [first, second] = [1, 2].map(() => new World(randomWorld(seed)).run());
    t.same(second, first);
  }
});

t.test("another seed is another world", async (t) => {
  const hashes = [1, 2, 3, 4, 5].map((seed) => new World(randomWorld(seed)).run().traceHash);
  t.equal(new Set(hashes).size, 5);
});
