/** Control messages written by an enemy: each is refused by its headers alone, before anything is built from it. */
import { pack } from "msgpackr";
import t from "tap";
import { encodeControl, maxControlBytes, parsePeerState, parseWorkerMessage } from "../src/index.ts";
import { hello, peerState } from "./fixtures/examples.ts";
import { parsers } from "./fixtures/parsers.ts";
import { refusal } from "./fixtures/refusal.ts";

type Part = number | readonly number[] | Uint8Array;
const bytes = (...parts: Part[]): Uint8Array =>
  Buffer.concat(parts.map((part) => Uint8Array.from(typeof part === "number" ? [part] : part)));
const repeated = (count: number, ...pattern: number[]) => Buffer.alloc(count, Uint8Array.from(pattern));
const all32 = [0xff, 0xff, 0xff, 0xff];
const packedText = (text: string) => bytes(0xa0 | text.length, Buffer.from(text, "latin1"));
/** {"a": value} */
const inMap = (...value: Part[]) => bytes(0x81, 0xa1, 0x61, ...value);
const nested = (depth: number) => bytes(repeated(depth, 0x91), 0xc0);
const nestedMaps = (depth: number) => bytes(repeated(depth * 3, 0x81, 0xa1, 0x61), 0xc0);

const cases: [name: string, message: Uint8Array, code: string][] = [
  ["nothing", bytes(), "MESSAGE_CUT_SHORT"],
  ["a bulk message", bytes(0x97, 0xce), "MESSAGE_MALFORMED"],
  ["a number", bytes(7), "MESSAGE_MALFORMED"],
  ["text", bytes(0xa1, 0x61), "MESSAGE_MALFORMED"],
  ["an unused format", bytes(0xc1), "MESSAGE_MALFORMED"],
  ["an array of 2^32 - 1 items", inMap(0xdd, all32), "MESSAGE_CUT_SHORT"],
  ["arrays of 2^32 - 1 items inside each other", inMap(0xdd, all32, 0xdd, all32, 0xdd, all32), "MESSAGE_CUT_SHORT"],
  ["a map of 2^32 - 1 fields", bytes(0xdf, all32, 0xa1, 0x61, 0xc0), "MESSAGE_CUT_SHORT"],
  ["text of 2^32 - 1 bytes", inMap(0xdb, all32, 0x61), "MESSAGE_CUT_SHORT"],
  ["a binary of 2^32 - 1 bytes", inMap(0xc6, all32, 0x61), "MESSAGE_CUT_SHORT"],
  ["a length cut in half", inMap(0xdd, 0x00, 0x00), "MESSAGE_CUT_SHORT"],
  ["a number cut in half", inMap(0xcb, 0, 0, 0, 0), "MESSAGE_CUT_SHORT"],
  ["100,000 nested arrays", inMap(nested(100_000)), "MESSAGE_TOO_LARGE"],
  ["100,000 nested maps", nestedMaps(100_000), "MESSAGE_TOO_LARGE"],
  ["nested arrays one deeper than allowed", inMap(nested(16)), "MESSAGE_TOO_LARGE"],
  ["nested arrays as deep as allowed", inMap(nested(15)), "MESSAGE_UNKNOWN"],
  ["eight million empty maps", inMap(0xdd, [0, 0x7f, 0, 0], repeated(0x7f0000, 0x80)), "MESSAGE_TOO_LARGE"],
  ["eight million numbers", inMap(0xdd, [0, 0x7f, 0, 0], repeated(0x7f0000, 0x01)), "MESSAGE_TOO_LARGE"],
  ["a map of 65 fields", bytes(0xde, 0, 65, repeated(65 * 3, 0xa1, 0x61, 0xc0)), "MESSAGE_TOO_LARGE"],
  ["a million wrong items", inMap(0xdd, [0, 0x0f, 0x42, 0x40], repeated(1_000_000, 0xc0)), "MESSAGE_UNKNOWN"],
  ["a map as a key", bytes(0x81, 0x80, 0xc0), "MESSAGE_MALFORMED"],
  ["a number as a key", bytes(0x81, 0x01, 0xc0), "MESSAGE_MALFORMED"],
  ["a number as the second key", bytes(0x82, 0xa1, 0x61, 0x91, 0xc0, 0x01, 0xc0), "MESSAGE_MALFORMED"],
  ["a fixext (msgpackr's record definition)", inMap(0xd4, 0x72, 0x40), "MESSAGE_MALFORMED"],
  ["a fixext 16", inMap(0xd8, repeated(17, 0)), "MESSAGE_MALFORMED"],
  ["an ext 8 (msgpackr's typed arrays)", inMap(0xc7, 1, 0x74, 0), "MESSAGE_MALFORMED"],
  ["an ext 32 of 2^32 - 1 bytes", inMap(0xc9, all32, 1), "MESSAGE_MALFORMED"],
  ["a timestamp", new Uint8Array(pack({ type: new Date(0) })), "MESSAGE_MALFORMED"],
  ["two messages", bytes(encodeControl(hello), encodeControl(hello)), "MESSAGE_MALFORMED"],
  ["text that is not UTF-8", bytes(0x81, 0xa4, 0x74, 0x79, 0x70, 0x65, 0xa2, 0xff, 0xfe), "MESSAGE_UNKNOWN"],
];

for (const [name, message, code] of cases) {
  t.test(`${name} is refused as ${code}`, async (t) => {
    t.ok(message.length <= maxControlBytes, "small enough to be looked at");
    for (const parse of parsers) t.equal(refusal(() => parse(message)).code, code);
  });
}

t.test("an extension is refused for being one, wherever it stands", async (t) => {
  const extensions: [name: string, value: Part[]][] = [
    ["fixext 1", [0xd4, 0x72, 0x40]],
    ["fixext 2", [0xd5, 0x72, 0x40, 0]],
    ["fixext 4", [0xd6, 0xff, repeated(4, 0)]],
    ["fixext 8", [0xd7, 0xff, repeated(8, 0)]],
    ["fixext 16", [0xd8, 1, repeated(16, 0)]],
    ["ext 8", [0xc7, 1, 0x74, 0]],
    ["ext 16", [0xc8, 0, 1, 0x74, 0]],
    ["ext 32", [0xc9, 0, 0, 0, 1, 0x74, 0]],
    ["unused", [0xc1]],
  ];
  for (const [name, value] of extensions) {
    const { code, message } = refusal(() => parseWorkerMessage(inMap(...value)));
    t.equal(code, "MESSAGE_MALFORMED", name);
    t.match(message, /at byte 3 .*an extension or unused/, name);
  }
});

t.test("a list of bad items is refused at its first", async (t) => {
  const evaluation = {
    split: "test",
    loss: 1,
    samples: 1,
    confusion: Array.from({ length: 1e6 }, () => null),
    classes: 1000,
  };
  const { code, message } = refusal(() =>
    parseWorkerMessage(pack({ type: "WorkerEvaluated", generation: 1, step: 1, evaluation })),
  );
  t.equal(code, "MESSAGE_INVALID");
  t.match(
    message,
    /^WorkerEvaluated: evaluation\.confusion\[0\]: expected a whole number from 0 to 4294967295, found null$/,
  );
});

t.test("a peer's state of a million broken evaluations is refused at its first", async (t) => {
  const broken = {
    ...peerState,
    progress: { ...peerState.progress, evaluations: Array.from({ length: 1e6 }, () => 0) },
  };
  const { evaluations } = peerState.progress;
  const first = {
    ...broken,
    progress: { ...broken.progress, evaluations: [...evaluations, ...Array(60_000).fill(0)] },
  };
  const refused = [
    [broken, /^PeerState: progress\.evaluations: expected a list of 0 to 65536 items, found a list of 1000000 items$/],
    [first, /^PeerState: progress\.evaluations\[1\]: expected an object with step, .*, found 0$/],
  ] as const;
  for (const [message, expected] of refused) {
    t.match(
      refusal(() => parsePeerState(pack(message))),
      { code: "MESSAGE_INVALID", message: expected },
    );
  }
});

t.test("no key reaches a prototype", async (t) => {
  for (const key of ["__proto__", "constructor", "prototype"]) {
    const inside = { ...hello, device: JSON.parse(`{"kind": "cpu", "name": "n", "${key}": {"polluted": true}}`) };
    // {"type": "WorkerBye", "reason": "", [key]: {"polluted": true}}, by hand: an encoder may hide the key.
    const beside = bytes(0x83, packedText("type"), packedText("WorkerBye"), packedText("reason"), packedText(""));
    for (const message of [pack(inside), bytes(beside, packedText(key), 0x81, packedText("polluted"), 0xc3)]) {
      const { code, message: said } = refusal(() => parseWorkerMessage(message));
      t.equal(code, "MESSAGE_INVALID", key);
      t.match(said, /expected only /);
    }
    const effect = JSON.parse(`{"planId": 1, "change": "stop", "after": 1, "${key}": {"polluted": true}}`);
    const { code, message } = refusal(() => parsePeerState(pack({ ...peerState, effect })));
    t.equal(code, "MESSAGE_INVALID", key);
    t.match(message, /^PeerState: effect: expected only planId, change, after, found also /);
    t.notOk("polluted" in {}, key);
  }
});
