import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { encodeControl, nextStateId, parseWorkerMessage, seedStateId, type WorkerMessage } from "../src/index.ts";

const id = fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: 16, maxLength: 16 });
const generation = fc.integer({ min: 0, max: 2 ** 32 - 1 });

t.test("the ids of a run's first states are these", async (t) => {
  // printf %s 0000000000000000/1 | sha256sum | cut -c 1-16
  const first = nextStateId(seedStateId, 1);
  t.equal(first, "daf17a949e76b839");
  t.equal(nextStateId(seedStateId, 2), "baa7b95af2fd7922");
  t.equal(nextStateId(first, 1), "39035f7c09336bb8");
  t.equal(nextStateId(first, 2 ** 32 - 1), "c1bb78f193b58d69");
});

t.test("the same step tried again in another generation has another id, and so has all that follows", async (t) => {
  fc.assert(
    fc.property(id, generation, generation, generation, (before, one, other, after) => {
      fc.pre(one !== other);
      const [first, second] = [nextStateId(before, one), nextStateId(before, other)];
      assert.notEqual(first, second);
      assert.notEqual(nextStateId(first, after), nextStateId(second, after));
    }),
  );
  t.pass();
});

t.test("a step from another state has another id", async (t) => {
  fc.assert(
    fc.property(id, id, generation, (one, other, generation) => {
      fc.pre(one !== other);
      assert.notEqual(nextStateId(one, generation), nextStateId(other, generation));
    }),
  );
  t.pass();
});

t.test("a thousand steps of one generation have a thousand ids, the same on every rank", async (t) => {
  const walk = () => {
    const ids = [seedStateId];
    for (let step = 1; step <= 1000; step += 1) ids.push(nextStateId(ids[step - 1] ?? "", 1));
    return ids;
  };
  t.equal(new Set(walk()).size, 1001);
  t.strictSame(walk(), walk());
});

t.test("every id may cross a socket", async (t) => {
  fc.assert(
    fc.property(id, generation, (before, generation) => {
      for (const stateId of [seedStateId, nextStateId(before, generation)]) {
        const message: WorkerMessage = { type: "WorkerRegrouped", generation, step: 0, stateId };
        assert.deepStrictEqual(parseWorkerMessage(encodeControl(message)), message);
      }
    }),
  );
  t.pass();
});
