import { encodeRingHeader, encodeStateHeader, parseBulk, type RingHeader } from "@ringmaster/protocol";
import t from "tap";
import { listenForRing } from "../src/ring-listener.ts";
import { type FakePeer, fakePeer } from "./fixtures/fake-peer.ts";
import { sameBits } from "./fixtures/seat-order.ts";
import { host, run, secret } from "./fixtures/socket-world.ts";

const listener = await listenForRing({ host, port: 0, secret, run });
t.teardown(() => listener.close());
let generation = 0;

// Chunk 0 begins at rank 1 (seat 1): its partial is what rank 0 expects first.
function message(header: Partial<RingHeader> = {}, payload = new Uint8Array(64), declared = payload.length): Buffer {
  const full = { kind: "partial" as const, generation, round: 0, bucket: 0, chunk: 0, segment: 0, ...header };
  return Buffer.concat([encodeRingHeader(full, declared), payload]);
}

function changed(bytes: Buffer, at: number, value: number): Buffer {
  bytes[at] = value;
  return bytes;
}

const cases: { name: string; code: string; says: RegExp; act: (peer: FakePeer) => void }[] = [
  {
    name: "an oversize message",
    code: "BAD_PEER",
    says: /payload size/i,
    act: ({ toReal }) => toReal.send(message({}, new Uint8Array(68))),
  },
  {
    name: "an oversize message in many frames",
    code: "BAD_PEER",
    says: /payload size|fragments/i,
    act({ toReal }) {
      for (let i = 0; i < 200; i++) toReal.send(new Uint8Array(10), { binary: true, fin: false });
    },
  },
  {
    name: "an unknown kind",
    code: "BAD_PEER",
    says: /MESSAGE_UNKNOWN/,
    act: ({ toReal }) => toReal.send(changed(message(), 5, 9)),
  },
  {
    name: "a message cut short",
    code: "BAD_PEER",
    says: /MESSAGE_CUT_SHORT/,
    act: ({ toReal }) => toReal.send(message().subarray(0, 50)),
  },
  {
    name: "a message cut within its header",
    code: "BAD_PEER",
    says: /MESSAGE_CUT_SHORT/,
    act: ({ toReal }) => toReal.send(message().subarray(0, 20)),
  },
  { name: "an empty message", code: "BAD_PEER", says: /MESSAGE_/, act: ({ toReal }) => toReal.send(new Uint8Array()) },
  {
    name: "a message that is no bulk",
    code: "BAD_PEER",
    says: /MESSAGE_MALFORMED/,
    act: ({ toReal }) => toReal.send(new Uint8Array(60).fill(7)),
  },
  { name: "a text", code: "BAD_PEER", says: /text/, act: ({ toReal }) => toReal.send("hello") },
  {
    name: "a part of a state",
    code: "BAD_PEER",
    says: /state/,
    act: ({ toReal }) => toReal.send(encodeStateHeader({ generation, step: 0, byteOffset: 0 }, 0)),
  },
  {
    name: "another generation",
    code: "BAD_PEER",
    says: /generation/,
    act: ({ toReal }) => toReal.send(message({ generation: generation + 1 })),
  },
  {
    name: "fewer floats than the segment has",
    code: "BAD_PEER",
    says: /60 bytes .* expected 64/,
    act: ({ toReal }) => toReal.send(message({}, new Uint8Array(60))),
  },
  {
    name: "an unknown segment",
    code: "BAD_PEER",
    says: /no such segment/,
    act: ({ toReal }) => toReal.send(message({ segment: 5 })),
  },
  {
    name: "a segment twice",
    code: "BAD_PEER",
    says: /twice/,
    act({ toReal }) {
      toReal.send(message());
      toReal.send(message());
    },
  },
  {
    name: "a frame that no WebSocket has",
    code: "BAD_PEER",
    says: /./,
    act: ({ socket }) => socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff])),
  },
  {
    name: "a socket cut within a message",
    code: "LINK_LOST",
    says: /link with rank 1/,
    act: ({ socket }) => socket.end(Buffer.from([0x82, 100, 0x97, 0xce])),
  },
  {
    name: "a socket reset",
    code: "LINK_LOST",
    says: /link with rank 1/,
    act: ({ socket }) => socket.resetAndDestroy(),
  },
  {
    name: "an orderly close within a round",
    code: "LINK_LOST",
    says: /1000/,
    act({ transport, toReal }) {
      transport.open(0, [0]);
      toReal.close(1000);
    },
  },
  {
    name: "a close for another reason between rounds",
    code: "LINK_LOST",
    says: /1001/,
    act: ({ toReal }) => toReal.close(1001),
  },
  {
    name: "the receiving end closes although it is still sent to",
    code: "LINK_LOST",
    says: /rank 1/,
    act({ transport, fromReal }) {
      fromReal.once("close", () => {
        transport.open(0, [0]);
        transport.ready(0, 0, 0);
      });
      fromReal.close(1000);
    },
  },
  {
    name: "a message against the direction",
    code: "BAD_PEER",
    says: /receiver/,
    act: ({ fromReal }) => fromReal.send(new Uint8Array(1)),
  },
  {
    name: "a long message against the direction",
    code: "BAD_PEER",
    says: /payload size/i,
    act: ({ fromReal }) => fromReal.send(new Uint8Array(100)),
  },
];
for (const { name, code, says, act } of cases)
  t.test(`${name} ends the ring with ${code}, and the process lives on`, async (t) => {
    generation++; // each on the same listener: it outlives them all
    const peer = await fakePeer(listener, generation);
    act(peer);
    const error = await peer.fault;
    t.match(error, { name: "CollectiveError", code, peerRank: 1, message: says });
    await peer.stop();
  });

t.test("what is not expected does not touch reduced values", async (t) => {
  generation++;
  const peer = await fakePeer(listener, generation);
  const before = peer.memory.reduced(1, 0).slice();
  peer.toReal.send(message({ round: 1 }, new Uint8Array(64).fill(1))); // two rounds early
  t.match(await peer.fault, { code: "BAD_PEER" });
  t.ok(sameBits(peer.memory.reduced(1, 0).slice(), before));
  await peer.stop();
});

t.test("a correct peer is served after all of these", async (t) => {
  generation++;
  const peer = await fakePeer(listener, generation);
  const floats = (value: number) => new Uint8Array(new Float32Array(16).fill(value).buffer);
  // chunk 1 begins at rank 0 and is completed by the peer, chunk 0 the other way round
  peer.fromReal.on("message", (data: Buffer) => {
    const sum = parseBulk(data);
    if (sum.kind === "partial") peer.toReal.send(message({ ...sum, kind: "complete" }, floats(9)));
  });
  for (const segment of [0, 1]) peer.toReal.send(message({ segment }, floats(1))); // before the round is open here
  peer.transport.open(0, [0]);
  peer.memory.seat(0).fill(2);
  peer.transport.ready(0, 0, 0);
  t.equal(await Promise.race([peer.held, peer.fault]), 0);
  t.same([...peer.memory.reduced(0, 0)], [...Array<number>(32).fill(3), ...Array<number>(32).fill(9)]);
  t.equal(peer.transport.counters.bytesReceived, 4 * 64);
  t.equal(peer.transport.counters.bytesSent, 4 * 64);
  await peer.stop();
});
