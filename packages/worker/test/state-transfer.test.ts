import assert from "node:assert/strict";
import { isBulk, maxStatePartBytes, parseBulk } from "@ringmaster/protocol";
import type { StateTensors } from "@ringmaster/training";
import { memoryLinkPair } from "@ringmaster/transport";
import fc from "fast-check";
import t from "tap";
import {
  copyState,
  hashState,
  restoreState,
  StateReceiver,
  sendState,
  stateBytes,
  stateParts,
} from "../src/state-transfer.ts";
import { progressAt } from "./fixtures/messages.ts";

/** Tensors of these lengths in one shared memory, each at an offset of its own. */
function tensorsOf(
  lengths: { model: readonly number[]; optimizer: readonly number[] },
  fill = (index: number) => index,
): StateTensors {
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 64, shared: true });
  let offset = 0;
  let next = 0;
  const place = (prefix: string) => (length: number, index: number) => {
    const data = new Float32Array(memory.buffer, offset, length);
    offset += Math.ceil((4 * length) / 64) * 64;
    for (let i = 0; i < length; i++) data[i] = fill(next++);
    return { name: `${prefix}${index}`, shape: [length], data };
  };
  return { model: lengths.model.map(place("model/")), optimizer: lengths.optimizer.map(place("slot/")) };
}

function snapshot(tensors: StateTensors): Uint8Array {
  const copy = new Uint8Array(stateBytes(tensors));
  copyState(tensors, copy);
  return copy;
}

const bits = ({ model, optimizer }: StateTensors) =>
  [...model, ...optimizer].map(({ data }) => [...new Uint32Array(data.slice().buffer)]);
const lengths = fc.record({
  model: fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 5 }),
  optimizer: fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 5 }),
});

t.test("a snapshot puts every bit back, NaNs, infinities and negative zeros too", async (t) => {
  const odd = [0, -0, Number.NaN, Number.POSITIVE_INFINITY, 1e-45, 0.1, -1e38];
  fc.assert(
    fc.property(lengths, (lengths) => {
      const state = tensorsOf(lengths, (index) => odd[index % odd.length] ?? 0);
      const copy = tensorsOf(lengths, () => 7);
      const bytes = snapshot(state);
      assert.equal(bytes.length, stateBytes(state));
      restoreState(copy, bytes);
      assert.deepEqual(bits(copy), bits(state));
      assert.equal(hashState(copy, progressAt(3)), hashState(state, progressAt(3)));
    }),
  );
  t.pass();
});

t.test("a snapshot is a copy: training may go on", async (t) => {
  const state = tensorsOf({ model: [3], optimizer: [2] });
  const bytes = snapshot(state);
  state.model[0]?.data.fill(99);
  const copy = tensorsOf({ model: [3], optimizer: [2] }, () => 7);
  restoreState(copy, bytes);
  t.same(
    [...copy.model, ...copy.optimizer].map(({ data }) => [...data]),
    [
      [0, 1, 2],
      [3, 4],
    ],
  );
});

t.test("the parts of a state are the state itself, in the order in which it travels", async (t) => {
  const state = tensorsOf({ model: [3, 0, 2], optimizer: [4] });
  const parts = stateParts(state);
  t.ok(Buffer.concat(parts).equals(snapshot(state)));
  state.model[0]?.data.fill(99);
  t.ok(Buffer.concat(parts).equals(snapshot(state)));
});

t.test("a state of another model is refused, and nothing is written", async (t) => {
  const copy = tensorsOf({ model: [3], optimizer: [2] }, () => 7);
  t.throws(() => restoreState(copy, new Uint8Array(24)), {
    code: "STATE_MALFORMED",
    message: /expected a state of 20 bytes, found 24/,
  });
  t.ok(copy.model.every(({ data }) => data.every((value) => value === 7)));
});

t.test("a state travels over a link in parts of bounded size, and arrives whole", async (t) => {
  const state = tensorsOf({ model: [600_000, 5], optimizer: [300_000] }, (index) => index % 1000);
  const bytes = snapshot(state);
  const [near, far] = memoryLinkPair();
  const receiver = new StateReceiver(bytes.length);
  let parts = 0;
  far.listen({
    message(message) {
      assert.ok(isBulk(message));
      const part = parseBulk(message);
      assert.ok(part.kind === "state" && part.step === 12 && part.generation === 3);
      assert.ok(part.payload.length <= maxStatePartBytes);
      parts++;
      receiver.add(part.byteOffset, part.payload);
    },
    closed() {},
  });
  near.listen({ message() {}, closed() {} });
  await sendState(near, { generation: 3, step: 12 }, bytes);
  const copy = tensorsOf({ model: [600_000, 5], optimizer: [300_000] }, () => 7);
  restoreState(copy, await receiver.complete);
  t.equal(parts, Math.ceil(bytes.length / maxStatePartBytes));
  t.ok(Buffer.from(snapshot(copy)).equals(bytes));
});

t.test("parts of any sizes make the whole", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 200 }),
      fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 }),
      async (bytes, sizes) => {
        const receiver = new StateReceiver(bytes.length);
        for (let at = 0, part = 0; at < bytes.length; part++) {
          const size = sizes[part % sizes.length] ?? 1;
          receiver.add(at, bytes.subarray(at, at + size));
          at += size;
        }
        assert.deepEqual(await receiver.complete, bytes);
      },
    ),
  );
  t.pass();
});

const wrongParts = [
  {
    name: "a gap",
    parts: [
      [0, 4],
      [8, 4],
    ],
    message: /expected byte 4 of 16 of the state next, found bytes 8 to 12/,
  },
  {
    name: "a part twice",
    parts: [
      [0, 4],
      [0, 4],
    ],
    message: /expected byte 4 of 16 .*found bytes 0 to 4/,
  },
  {
    name: "more than the whole",
    parts: [
      [0, 12],
      [12, 8],
    ],
    message: /expected byte 12 of 16 .*found bytes 12 to 20/,
  },
  {
    name: "something behind the end",
    parts: [
      [0, 16],
      [16, 4],
    ],
    message: /expected byte 16 of 16/,
  },
];
for (const { name, parts, message } of wrongParts)
  t.test(`a state with ${name} is refused`, async (t) => {
    const receiver = new StateReceiver(16);
    const add = () => {
      for (const [at = 0, size = 0] of parts) receiver.add(at, new Uint8Array(size));
    };
    t.throws(add, { name: "WorkerError", code: "STATE_MALFORMED", message });
  });

t.test("a state of nothing is whole at once", async (t) => {
  t.same(await new StateReceiver(0).complete, new Uint8Array());
});

t.test("the hash of a state depends on every float, every name and the progress", async (t) => {
  const make = () => tensorsOf({ model: [3], optimizer: [2] });
  const hash = hashState(make(), progressAt(3));
  t.match(hash, /^[0-9a-f]{64}$/);
  t.equal(hashState(make(), progressAt(3)), hash);
  t.not(hashState(make(), progressAt(4)), hash);
  for (const index of [0, 1]) {
    const other = make();
    const tensor = [...other.model, ...other.optimizer][index];
    if (tensor) tensor.data[0] = -0.5;
    t.not(hashState(other, progressAt(3)), hash);
  }
  const [tensor] = make().model;
  t.not(hashState({ ...make(), model: tensor ? [{ ...tensor, name: "other" }] : [] }, progressAt(3)), hash);
});

t.test("the order of a progress's fields is not part of its hash", async (t) => {
  const state = tensorsOf({ model: [1], optimizer: [] });
  const { step, ...rest } = progressAt(3);
  t.equal(hashState(state, { ...rest, step }), hashState(state, progressAt(3)));
});
