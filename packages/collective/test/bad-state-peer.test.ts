import { createServer } from "node:http";
import type { Socket } from "node:net";
import { encodeRingHeader, encodeStateHeader, maxControlBytes, type StateHeader } from "@ringmaster/protocol";
import t from "tap";
import { type WebSocket, WebSocketServer } from "ws";
import { fetchState } from "../src/fetch-state.ts";
import { host, run, secret } from "./fixtures/socket-world.ts";

const totalBytes = 64;
const header: StateHeader = { generation: 4, step: 17, byteOffset: 0 };

function part(byteOffset: number, length: number, more: Partial<StateHeader> = {}): Buffer {
  return Buffer.concat([encodeStateHeader({ ...header, byteOffset, ...more }, length), new Uint8Array(length)]);
}

type Act = (peer: { webSocket: WebSocket; socket: Socket }) => void;

/** Says `about`, then these messages. */
const sends =
  (...messages: (Uint8Array | string)[]): Act =>
  ({ webSocket }) => {
    for (const message of [new Uint8Array(3), ...messages]) webSocket.send(message);
  };
const closes =
  (code: number, ...messages: Uint8Array[]): Act =>
  (peer) => {
    sends(...messages)(peer);
    peer.webSocket.close(code);
  };

const cases: { name: string; code: string; says: RegExp; act: Act }[] = [
  { name: "a text first", code: "BAD_PEER", says: /text/, act: ({ webSocket }) => webSocket.send("hello") },
  { name: "a text as a part", code: "BAD_PEER", says: /text/, act: sends("hello") },
  {
    name: "too much about the state",
    code: "BAD_PEER",
    says: /payload size/i,
    act: ({ webSocket }) => webSocket.send(new Uint8Array(maxControlBytes + 1)),
  },
  {
    name: "ever more about the state",
    code: "BAD_PEER",
    says: /more than 67108864 bytes about it/,
    act: sends(...new Array<Uint8Array>(8).fill(new Uint8Array(maxControlBytes))),
  },
  {
    name: "a part before anything about it",
    code: "BAD_PEER",
    says: /before anything/,
    act: ({ webSocket }) => webSocket.send(part(0, 64)),
  },
  {
    name: "something else among the parts",
    code: "BAD_PEER",
    says: /no part of it came after 32 bytes/,
    act: sends(part(0, 32), new Uint8Array(50)),
  },
  { name: "a part cut short", code: "BAD_PEER", says: /MESSAGE_CUT_SHORT/, act: sends(part(0, 64).subarray(0, 90)) },
  {
    name: "a sum",
    code: "BAD_PEER",
    says: /found a partial/,
    act: sends(encodeRingHeader({ kind: "partial", generation: 4, round: 17, bucket: 0, chunk: 0, segment: 0 }, 0)),
  },
  { name: "another generation", code: "BAD_PEER", says: /generation 5/, act: sends(part(0, 64, { generation: 5 })) },
  { name: "another step", code: "BAD_PEER", says: /step 18/, act: sends(part(0, 64, { step: 18 })) },
  { name: "a part too far on", code: "BAD_PEER", says: /from 32 on/, act: sends(part(32, 32)) },
  { name: "a part twice", code: "BAD_PEER", says: /from 0 on/, act: sends(part(0, 32), part(0, 32)) },
  { name: "an empty part", code: "BAD_PEER", says: /found 0 from 0/, act: sends(part(0, 0)) },
  { name: "a part that is too long", code: "BAD_PEER", says: /found 68/, act: sends(part(0, 68)) },
  { name: "more than the state", code: "BAD_PEER", says: /the 0 bytes/, act: sends(part(0, 64), part(64, 4)) },
  { name: "less than the state", code: "BAD_PEER", says: /32 of 64/, act: closes(1000, part(0, 32)) },
  { name: "nothing at all", code: "BAD_PEER", says: /0 of 64/, act: ({ webSocket }) => webSocket.close(1000) },
  { name: "a ping", code: "BAD_PEER", says: /ping/, act: ({ webSocket }) => webSocket.ping() },
  { name: "a pong", code: "BAD_PEER", says: /pong/, act: ({ webSocket }) => webSocket.pong() },
  {
    name: "a message in ever more frames",
    code: "BAD_PEER",
    says: /fragments/i,
    act({ webSocket }) {
      for (let i = 0; i < 200; i++) webSocket.send(new Uint8Array(1), { fin: false });
    },
  },
  {
    name: "a frame that no WebSocket has",
    code: "BAD_PEER",
    says: /./,
    act: ({ socket }) => socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff])),
  },
  { name: "all, and a close for another reason", code: "LINK_LOST", says: /1001/, act: closes(1001, part(0, 64)) },
  { name: "a reset", code: "LINK_LOST", says: /./, act: ({ socket }) => socket.resetAndDestroy() },
  { name: "half, then nothing", code: "LINK_TIMEOUT", says: /silent for/, act: sends(part(0, 32)) },
];
for (const { name, code, says, act } of cases)
  t.test(`a member that sends ${name} fails the fetch with ${code}`, async (t) => {
    const server = createServer();
    const webSockets = new WebSocketServer({ server, perMessageDeflate: false });
    const left = new Promise((resolve) =>
      webSockets.once("connection", (webSocket, { socket }) => {
        webSocket.on("error", () => {});
        webSocket.once("close", resolve);
        act({ webSocket, socket });
      }),
    );
    await new Promise<void>((resolve) => server.listen(0, host, resolve));
    const address = server.address();
    const port = address !== null && typeof address === "object" ? address.port : 0;
    const signal = new AbortController().signal;
    await t.rejects(
      fetchState({
        host,
        port,
        from: 2,
        to: 1,
        secret,
        run,
        generation: 4,
        step: 17,
        totalBytes,
        signal,
        stallMs: 300,
      }),
      { name: "CollectiveError", code, peerRank: 2, message: says },
    );
    await left; // the fetcher has let go of the link
    await new Promise((resolve) => server.close(resolve));
  });
