import assert from "node:assert/strict";
import fc from "fast-check";
import { unpack } from "msgpackr";
import t from "tap";
import {
  bulkHeaderBytes,
  encodeRingHeader,
  encodeStateHeader,
  isBulk,
  maxSegmentBytes,
  maxStateBytes,
  maxStatePartBytes,
  parseBulk,
  type RingHeader,
  type StateHeader,
  writeRingHeader,
  writeStateHeader,
} from "../src/index.ts";
import { record } from "./fixtures/arbitraries.ts";
import { refusal } from "./fixtures/refusal.ts";

const uint32 = fc.oneof(fc.nat({ max: 300 }), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
const words = fc.array(uint32, { maxLength: 64 }).map((values) => new Uint8Array(Uint32Array.from(values).buffer));
const ringHeader: fc.Arbitrary<RingHeader> = record({
  kind: fc.constantFrom("partial", "complete"),
  generation: uint32,
  round: uint32,
  bucket: uint32,
  chunk: uint32,
  segment: uint32,
});
const stateHeader: fc.Arbitrary<StateHeader> = record({
  generation: uint32,
  step: uint32,
  byteOffset: fc.integer({ min: 0, max: maxStateBytes - maxStatePartBytes }),
});
const ringBytes = (header: RingHeader, payload: Uint8Array) =>
  Buffer.concat([encodeRingHeader(header, payload.length), payload]);
const stateBytes = (header: StateHeader, payload: Uint8Array) =>
  Buffer.concat([encodeStateHeader(header, payload.length), payload]);
const anyBulk = fc.oneof(
  fc.tuple(ringHeader, words).map(([header, payload]) => ringBytes(header, payload)),
  fc.tuple(stateHeader, fc.uint8Array({ maxLength: 200 })).map(([header, payload]) => stateBytes(header, payload)),
);
const example: RingHeader = { kind: "partial", generation: 3, round: 17, bucket: 0, chunk: 5, segment: 258 };

t.test("the bytes of a ring header are these", async (t) => {
  t.equal(
    Buffer.from(encodeRingHeader(example, 65536)).toString("hex"),
    "97" + "ce00000001" + "ce00000003" + "ce00000011" + "ce00000000" + "ce00000005" + "ce00000102" + "c600010000",
  );
  t.equal(bulkHeaderBytes % 4, 0);
});

t.test("the bytes of a state header are these", async (t) => {
  t.equal(
    Buffer.from(encodeStateHeader({ generation: 1, step: 2, byteOffset: 15 * 2 ** 32 + 0xdeadbeef }, 3)).toString(
      "hex",
    ),
    "97" + "ce00000003" + "ce00000001" + "ce00000002" + "ce0000000f" + "cedeadbeef" + "ce00000000" + "c600000003",
  );
});

t.test("every ring message comes out as it went in, its payload a view", async (t) => {
  fc.assert(
    fc.property(ringHeader, words, (header, payload) => {
      const bytes = ringBytes(header, payload);
      const { payload: found, ...rest } = parseBulk(bytes);
      assert.deepStrictEqual(rest, header);
      assert.deepStrictEqual([...found], [...payload]);
      assert.equal(found.buffer, bytes.buffer);
      assert.equal(found.byteOffset, bytes.byteOffset + bulkHeaderBytes);
    }),
  );
  t.pass();
});

t.test("every state message comes out as it went in, its payload a view", async (t) => {
  fc.assert(
    fc.property(stateHeader, fc.uint8Array({ maxLength: 200 }), (header, payload) => {
      const bytes = stateBytes(header, payload);
      const { payload: found, ...rest } = parseBulk(bytes);
      assert.deepStrictEqual(rest, { kind: "state", ...header });
      assert.deepStrictEqual([...found], [...payload]);
      assert.equal(found.buffer, bytes.buffer);
    }),
  );
  t.pass();
});

t.test("any msgpack decoder reads a bulk message", async (t) => {
  fc.assert(
    fc.property(ringHeader, words, (header, payload) => {
      const { kind, generation, round, bucket, chunk, segment } = header;
      const decoded: unknown = unpack(ringBytes(header, payload));
      assert.ok(Array.isArray(decoded));
      assert.deepStrictEqual(decoded.slice(0, 6), [
        kind === "partial" ? 1 : 2,
        generation,
        round,
        bucket,
        chunk,
        segment,
      ]);
      assert.deepStrictEqual([...decoded[6]], [...payload]);
    }),
  );
  t.pass();
});

t.test("a header is written into the start of a larger buffer and leaves the rest alone", async (t) => {
  const target = new Uint8Array(bulkHeaderBytes + 8).fill(0xaa);
  writeRingHeader(target, example, 8);
  t.same(target.subarray(0, bulkHeaderBytes), encodeRingHeader(example, 8));
  t.same(
    [...target.subarray(bulkHeaderBytes)],
    Array.from({ length: 8 }, () => 0xaa),
  );
  writeStateHeader(target, { generation: 1, step: 2, byteOffset: 4 }, 8);
  t.same(target.subarray(0, bulkHeaderBytes), encodeStateHeader({ generation: 1, step: 2, byteOffset: 4 }, 8));
  t.equal(refusal(() => writeRingHeader(new Uint8Array(35), example, 8)).code, "MESSAGE_CUT_SHORT");
});

t.test("a message cut at any byte is cut short", async (t) => {
  fc.assert(
    fc.property(anyBulk, (bytes) => {
      for (let end = 0; end < bytes.length; end += 1) {
        assert.equal(refusal(() => parseBulk(bytes.subarray(0, end))).code, "MESSAGE_CUT_SHORT");
      }
    }),
    { numRuns: 30 },
  );
  t.pass();
});

t.test("a header with any byte changed is refused or still has the right payload", async (t) => {
  fc.assert(
    fc.property(
      anyBulk,
      fc.nat({ max: bulkHeaderBytes - 1 }),
      fc.integer({ min: 1, max: 255 }),
      (bytes, at, change) => {
        bytes[at] = (bytes[at] ?? 0) ^ change;
        const { code } = refusal(() => assert.equal(parseBulk(bytes).payload.length, bytes.length - bulkHeaderBytes));
        const marker = at % 5 === 1 || at === 0;
        const inLength = at > 31;
        if (marker || inLength) assert.notEqual(code, "none");
      },
    ),
    { numRuns: 2000 },
  );
  t.pass();
});

t.test("no bytes make the parser throw anything but a ProtocolError", async (t) => {
  const behindHeader = fc.uint8Array({ maxLength: 60 }).map((bytes) => {
    const message = Buffer.concat([encodeRingHeader(example, 4), bytes]);
    return message;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 100 }), behindHeader), (bytes) => {
      refusal(() => parseBulk(bytes));
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

const edited = (bytes: Uint8Array, at: number, ...values: number[]) => {
  bytes.set(values, at);
  return bytes;
};
const four = new Uint8Array(4);
const state: StateHeader = { generation: 1, step: 2, byteOffset: 0 };

t.test("what is wrong with a message has its own code", async (t) => {
  const cases: [name: string, bytes: Uint8Array, code: string][] = [
    ["a control message", Uint8Array.of(0x81, 0xa0, 0xc0), "MESSAGE_MALFORMED"],
    ["a short integer", edited(ringBytes(example, four), 1, 0xcd), "MESSAGE_MALFORMED"],
    ["a short binary", edited(ringBytes(example, four), 31, 0xc5), "MESSAGE_MALFORMED"],
    ["trailing bytes", Buffer.concat([ringBytes(example, four), four]), "MESSAGE_MALFORMED"],
    ["a declared length that nobody may have", edited(ringBytes(example, four), 32, 0xff), "MESSAGE_TOO_LARGE"],
    [
      "a segment above the bound",
      edited(stateBytes(state, new Uint8Array(maxSegmentBytes + 4)), 5, 1),
      "MESSAGE_TOO_LARGE",
    ],
    ["kind 0", edited(ringBytes(example, four), 5, 0), "MESSAGE_UNKNOWN"],
    ["kind 4", edited(ringBytes(example, four), 5, 4), "MESSAGE_UNKNOWN"],
    ["half a word", edited(stateBytes(state, new Uint8Array(2)), 5, 1), "MESSAGE_INVALID"],
    ["a state's last field", edited(stateBytes(state, four), 30, 1), "MESSAGE_INVALID"],
    ["an offset beyond the state", edited(stateBytes(state, four), 20, 16), "MESSAGE_INVALID"],
    ["nothing", new Uint8Array(), "MESSAGE_CUT_SHORT"],
  ];
  for (const [name, bytes, code] of cases) t.equal(refusal(() => parseBulk(bytes)).code, code, name);
});

t.test("a header that no reader would take is not written", async (t) => {
  const cases: [name: string, write: () => unknown, code: string][] = [
    ["a negative field", () => encodeRingHeader({ ...example, chunk: -1 }, 4), "MESSAGE_INVALID"],
    ["a fraction", () => encodeRingHeader({ ...example, round: 0.5 }, 4), "MESSAGE_INVALID"],
    ["NaN", () => encodeRingHeader({ ...example, generation: Number.NaN }, 4), "MESSAGE_INVALID"],
    ["2^32", () => encodeRingHeader({ ...example, segment: 2 ** 32 }, 4), "MESSAGE_INVALID"],
    ["half a word", () => encodeRingHeader(example, 3), "MESSAGE_INVALID"],
    ["a negative payload", () => encodeRingHeader(example, -4), "MESSAGE_INVALID"],
    ["no payload size", () => encodeStateHeader(state, Number.NaN), "MESSAGE_INVALID"],
    ["a long segment", () => encodeRingHeader(example, maxSegmentBytes + 4), "MESSAGE_TOO_LARGE"],
    ["a long part", () => encodeStateHeader(state, maxStatePartBytes + 1), "MESSAGE_TOO_LARGE"],
    ["an offset beyond", () => encodeStateHeader({ ...state, byteOffset: maxStateBytes - 3 }, 4), "MESSAGE_INVALID"],
  ];
  for (const [name, write, code] of cases) t.equal(refusal(write).code, code, name);
  t.doesNotThrow(
    () => encodeStateHeader({ ...state, byteOffset: maxStateBytes - 4 }, 4),
    "the last part of the largest state",
  );
});

t.test("bulk is told from control by its first byte", async (t) => {
  t.equal(isBulk(encodeRingHeader(example, 0)), true);
  t.equal(isBulk(Uint8Array.of(0x81)), false);
  t.equal(isBulk(new Uint8Array()), false);
});
