import assert from "node:assert/strict";
import fc from "fast-check";
import { pack, unpack } from "msgpackr";
import t from "tap";
import {
  encodeControl,
  isBulk,
  maxControlBytes,
  maxEvaluations,
  parseCoordinatorMessage,
  parsePeerState,
  parseWorkerMessage,
  type RunProgress,
  type WorkerMessage,
} from "../src/index.ts";
import { anyMessage, peerState as anyPeerState, coordinatorMessages, workerMessages } from "./fixtures/arbitraries.ts";
import { config, hello, peerState, progress } from "./fixtures/examples.ts";
import { type Claimed, parserOf, parsers } from "./fixtures/parsers.ts";
import { refusal } from "./fixtures/refusal.ts";

t.test("every message comes out as it went in", async (t) => {
  for (const [type, arbitrary] of Object.entries<fc.Arbitrary<WorkerMessage>>(workerMessages)) {
    fc.assert(
      fc.property(arbitrary, (message) => assert.deepStrictEqual(parseWorkerMessage(encodeControl(message)), message)),
      { numRuns: 60 },
    );
    t.pass(type);
  }
  for (const [type, arbitrary] of Object.entries(coordinatorMessages)) {
    fc.assert(
      fc.property(arbitrary, (message) =>
        assert.deepStrictEqual(parseCoordinatorMessage(encodeControl(message)), message),
      ),
      { numRuns: 60 },
    );
    t.pass(type);
  }
  fc.assert(
    fc.property(anyPeerState, (message) => assert.deepStrictEqual(parsePeerState(encodeControl(message)), message)),
    { numRuns: 60 },
  );
  t.pass("PeerState");
});

t.test("a message is one plain msgpack map that any decoder reads, and never looks like bulk", async (t) => {
  fc.assert(
    fc.property(anyMessage, (message) => {
      const bytes = encodeControl(message);
      assert.deepStrictEqual(unpack(bytes), message);
      assert.equal(isBulk(bytes), false);
      assert.equal(bytes.buffer.byteLength, bytes.length);
    }),
    { numRuns: 100 },
  );
  t.pass();
});

t.test("a message from the other direction is unknown", async (t) => {
  const cases = [
    [parseCoordinatorMessage, hello, /type out of CoordinatorWelcome, .*, found "WorkerHello"/],
    [parsePeerState, hello, /type out of PeerState, found "WorkerHello"/],
    [parseWorkerMessage, peerState, /type out of WorkerHello, .*, found "PeerState"/],
    [parseCoordinatorMessage, peerState, /type out of CoordinatorWelcome, .*, found "PeerState"/],
  ] as const;
  for (const [parse, message, expected] of cases) {
    t.match(
      refusal(() => parse(encodeControl(message))),
      { code: "MESSAGE_UNKNOWN", message: expected },
    );
  }
});

t.test("an unknown type is named, shortened and in one line", async (t) => {
  const { code, message } = refusal(() => parseWorkerMessage(pack({ type: `Worker\n\u202e${"x".repeat(5000)}` })));
  t.equal(code, "MESSAGE_UNKNOWN");
  t.match(message, /found "Worker\\n\\u\{202e\}xxx/);
  t.ok(message.length < 400);
  t.notMatch(message, /[\n\u202e]/);
  t.equal(refusal(() => parseWorkerMessage(pack({}))).code, "MESSAGE_UNKNOWN", "no type");
  for (const type of [null, 7, {}, ["WorkerHello"], "__proto__", "constructor", "toString", "hasOwnProperty"]) {
    t.equal(refusal(() => parseWorkerMessage(pack({ type }))).code, "MESSAGE_UNKNOWN", String(type));
  }
});

t.test("an invalid field is named with what was expected and what was found", async (t) => {
  const held = { generation: 0, step: 12, stateId: peerState.stateId };
  const load = { type: "CoordinatorLoad", ...held, source: { kind: "seed" } };
  const state = {
    type: "WorkerState",
    ...held,
    stateHash: hello.configHash,
    totalBytes: 4,
    progress,
    pauseMs: 0,
  };
  const { pid: _, ...withoutPid } = hello;
  const { progress: __, ...withoutProgress } = peerState;
  const cases: [name: string, message: Claimed, expected: string][] = [
    ["version", { ...hello, protocol: 2 }, "WorkerHello: protocol: expected 1, found 2"],
    [
      "hash",
      { ...hello, configHash: "A".repeat(64) },
      'configHash: expected a hash of 64 lower-case hex digits, found "AAAA',
    ],
    ["id", { ...hello, workerId: "me" }, 'workerId: expected a UUID, found "me"'],
    [
      "nested",
      { ...hello, ring: { host: "", port: 1 } },
      'ring.host: expected a host of 1 to 253 printable characters, found ""',
    ],
    ["host", { ...hello, host: "a\nb" }, 'host: expected a host of 1 to 253 printable characters, found "a\\nb"'],
    ["missing", withoutPid, "pid: expected a whole number from 0 to 4294967295, found nothing"],
    ["fraction", { ...hello, threads: 1.5 }, "threads: expected a whole number from 1 to 1024, found 1.5"],
    ["stranger", { ...hello, admin: true }, "WorkerHello: the whole: expected only type, protocol, workerId"],
    [
      "text",
      { type: "WorkerFailed", concerns: "run", code: "X", message: "x".repeat(2001) },
      "message: expected text of 0 to 2000 characters",
    ],
    [
      "progress",
      { ...state, progress: { ...progress, epochSums: { ...progress.epochSums, loss: Number.NaN } } },
      "progress.epochSums.loss: expected a finite number, found NaN",
    ],
    [
      "evaluation",
      { ...state, progress: { ...progress, evaluations: [...progress.evaluations, { step: 1 }] } },
      "progress.evaluations[1].epoch: expected a whole number of at least 0, found nothing",
    ],
    [
      "state size",
      { ...state, totalBytes: 2 ** 36 + 1 },
      "totalBytes: expected a whole number from 0 to 68719476736, found 68719476737",
    ],
    [
      "confusion",
      {
        type: "WorkerEvaluated",
        generation: 0,
        step: 1,
        evaluation: { split: "test", loss: 1, samples: 3, confusion: [1, 1, 1], classes: 2 },
      },
      "evaluation.confusion: expected classes x classes entries of confusion, found",
    ],
    [
      "count",
      {
        type: "WorkerEvaluated",
        generation: 0,
        step: 1,
        evaluation: { split: "test", loss: 1, samples: 3, confusion: [1, 1, -1, 2], classes: 2 },
      },
      "evaluation.confusion[2]: expected a whole number from 0 to 4294967295, found -1",
    ],
    [
      "config",
      { type: "CoordinatorStart", config: { ...config, seed: -1 } },
      "config.seed: expected a whole number from 0 to 4294967295, found -1",
    ],
    ["source", { ...load, source: { kind: "peer" } }, 'source.kind: expected "seed" or "checkpoint", found "peer"'],
    [
      "a checkpoint without its progress",
      { ...load, source: { kind: "checkpoint", totalBytes: 4 } },
      "source.progress: expected an object with step, ",
    ],
    [
      "plan",
      { type: "CoordinatorPlan", planId: 1, change: "explode" },
      'change: expected "stop" or "checkpoint", found "explode"',
    ],
    [
      "phase",
      { ...hello, standing: { ...hello.standing, phase: "ready" } },
      'standing.phase: expected "unprepared" or "spare" or "regrouping" or "stepping" or "done", found "ready"',
    ],
    [
      "concerns",
      { type: "WorkerFailed", concerns: "me", code: "X", message: "" },
      'concerns: expected "run" or "worker", found "me"',
    ],
    [
      "state id",
      { type: "WorkerRegrouped", generation: 1, step: -1, stateId: "" },
      'stateId: expected a state\'s id of 16 lower-case hex digits, found ""',
    ],
    ["lost peer", { type: "WorkerLinkLost", generation: 1, peer: 3, message: "" }, "peer: expected a UUID, found 3"],
    [
      "member",
      { type: "CoordinatorRegroup", generation: 1, members: [hello.workerId, "me"] },
      'members[1]: expected a UUID, found "me"',
    ],
    ["peer's progress", withoutProgress, "PeerState: progress: expected an object with step, "],
    [
      "peer's effect",
      { ...peerState, effect: { ...peerState.effect, change: "leave" } },
      'PeerState: effect.change: expected "stop" or "checkpoint", found "leave"',
    ],
  ];
  for (const [name, message, expected] of cases) {
    const found = refusal(() => parserOf(message.type)(pack(message)));
    t.equal(found.code, "MESSAGE_INVALID", name);
    t.ok(found.message.includes(expected), `${name}: ${found.message}`);
  }
});

t.test("many broken fields are named up to three and counted", async (t) => {
  t.match(
    refusal(() => parseWorkerMessage(pack({ type: "WorkerHello" }))).message,
    /protocol: .*; workerId: .*; configHash: .*; and \d+ more$/,
  );
});

t.test("a diverging run can say that its loss is no number", async (t) => {
  for (const loss of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const held: WorkerMessage = {
      type: "WorkerHeld",
      generation: 1,
      step: 9,
      stateId: "f".repeat(16),
      tail: { loss, correct: 0, samples: 64, plan: 0, overflowed: 0, receipt: [0, 1, 2, 3] },
      timing: { dataMs: 0, computeMs: 0, communicationMs: 0, optimizerMs: 0 },
      memoryBytes: 0,
    };
    t.strictSame(parseWorkerMessage(encodeControl(held)), held);
  }
});

t.test("a message cut at any byte is cut short, one byte more is malformed", async (t) => {
  fc.assert(
    fc.property(anyMessage, fc.nat(), (message, random) => {
      const bytes = encodeControl(message);
      const cut = bytes.subarray(0, random % bytes.length);
      const longer = Uint8Array.from([...bytes, random % 256]);
      for (const parse of parsers) {
        assert.equal(refusal(() => parse(cut)).code, "MESSAGE_CUT_SHORT");
        assert.equal(refusal(() => parse(longer)).code, "MESSAGE_MALFORMED");
      }
    }),
    { numRuns: 150 },
  );
  const bytes = encodeControl(hello);
  for (let end = 0; end < bytes.length; end += 1) {
    assert.equal(refusal(() => parseWorkerMessage(bytes.subarray(0, end))).code, "MESSAGE_CUT_SHORT");
  }
  t.pass();
});

t.test("no bytes make the parsers throw anything but a ProtocolError", async (t) => {
  const damaged = fc
    .tuple(anyMessage, fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }))
    .map(([message, edits]) => {
      const bytes = encodeControl(message);
      for (const [at, value] of edits) bytes[at % bytes.length] = value;
      return bytes;
    });
  const anyValue = fc.object({ maxDepth: 3, withNullPrototype: true }).map((value) => new Uint8Array(pack(value)));
  // Biased towards headers, behind the header of a map.
  const headers = fc
    .array(fc.oneof(fc.integer({ min: 0x80, max: 0xdf }), fc.nat(255)), { maxLength: 200 })
    .map((bytes) => Uint8Array.from([0xde, 0, 2, 0xa1, 0x61, ...bytes]));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), damaged, anyValue, headers), (bytes) => {
      for (const parse of parsers) refusal(() => parse(bytes));
    }),
    { numRuns: 3000 },
  );
  t.pass();
});

t.test("a 64-bit integer from another encoder is a number", async (t) => {
  // {"type": "CoordinatorSaved", "step": 7 as uint64}, and the same as int64
  const head = Buffer.concat([
    Buffer.of(0x82, 0xa4),
    Buffer.from("type"),
    Buffer.of(0xb0),
    Buffer.from("CoordinatorSaved"),
  ]);
  for (const format of [0xcf, 0xd3]) {
    const tail = Buffer.concat([Buffer.of(0xa4), Buffer.from("step"), Buffer.of(format, 0, 0, 0, 0, 0, 0, 0, 7)]);
    t.strictSame(parseCoordinatorMessage(Buffer.concat([head, tail])), { type: "CoordinatorSaved", step: 7 });
  }
});

t.test("bytes in shared memory are read as any others", async (t) => {
  const bytes = encodeControl(hello);
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
  shared.set(bytes);
  t.strictSame(parseWorkerMessage(shared), hello);
});

t.test("the largest legitimate messages fit their bounds", async (t) => {
  const largest = Number.MAX_SAFE_INTEGER;
  const evaluation = {
    step: 2 ** 32 - 1,
    epoch: largest,
    split: "validation" as const,
    loss: 0.1,
    accuracy: 0.1,
    samples: largest,
  };
  const full: RunProgress = { ...progress, evaluations: Array.from({ length: maxEvaluations }, () => evaluation) };
  const held = { generation: 2 ** 32 - 1, step: 2 ** 32 - 1, stateId: "f".repeat(16) };
  const where = { host: "h".repeat(253), port: 65535 };
  const each = <Item>(item: Item) => Array.from({ length: 1024 }, () => item);
  const load = encodeControl({
    type: "CoordinatorLoad",
    ...held,
    source: { kind: "checkpoint", totalBytes: 2 ** 36, progress: full },
    leftOut: [],
  });
  t.match(parseCoordinatorMessage(load), { type: "CoordinatorLoad", step: 2 ** 32 - 1 });
  const proceed = encodeControl({
    type: "CoordinatorProceed",
    ...held,
    seating: each(1023),
    peers: each({ workerId: hello.workerId, ...where }),
  });
  t.match(parseCoordinatorMessage(proceed), { type: "CoordinatorProceed", step: 2 ** 32 - 1 });
  const fetch = encodeControl({ type: "CoordinatorFetch", ...held, from: each({ position: 1023, ...where }) });
  t.match(parseCoordinatorMessage(fetch), { type: "CoordinatorFetch", step: 2 ** 32 - 1 });
  const start = encodeControl({ type: "CoordinatorStart", config: { ...config, batchSize: 65536, seats: 1024 } });
  t.match(parseCoordinatorMessage(start), { type: "CoordinatorStart", config: { seats: 1024 } });
  const effect = { planId: 2 ** 32 - 1, change: "checkpoint" as const, after: 2 ** 32 - 1 };
  const peer = encodeControl({ type: "PeerState", ...held, progress: full, effect });
  t.match(parsePeerState(peer), { type: "PeerState", effect });
  const confusion = Array.from({ length: 1e6 }, () => 2 ** 32 - 1);
  const evaluated = encodeControl({
    type: "WorkerEvaluated",
    generation: 1,
    step: 1,
    evaluation: { split: "test", loss: 1, samples: largest, confusion, classes: 1000 },
  });
  t.match(parseWorkerMessage(evaluated), { type: "WorkerEvaluated", step: 1 });
});

t.test("a message above the bound is neither sent nor parsed", async (t) => {
  const tooLong: WorkerMessage = { type: "WorkerBye", reason: "x".repeat(maxControlBytes) };
  t.equal(refusal(() => encodeControl(tooLong)).code, "MESSAGE_TOO_LARGE");
  t.equal(refusal(() => parseWorkerMessage(new Uint8Array(maxControlBytes + 1))).code, "MESSAGE_TOO_LARGE");
});
