import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import t from "tap";
import { authorization, type LinkEnds } from "../src/link-address.ts";
import { openRing } from "../src/open-ring.ts";
import { listenForRing, type RingListener } from "../src/ring-listener.ts";
import { dialListener } from "./fixtures/fake-peer.ts";
import { rankMemory } from "./fixtures/rank-memory.ts";
import { layoutOf } from "./fixtures/seatings.ts";
import { host, run, secret } from "./fixtures/socket-world.ts";

const layout = layoutOf(2, [40_000]);
const handlers = { message() {}, ended() {} };
const never = new AbortController().signal;
const conflict = { message: "Unexpected server response: 409" };

async function listen(t: { teardown(end: () => Promise<unknown>): void }): Promise<RingListener> {
  const listener = await listenForRing({ host, port: 0, secret, run });
  t.teardown(() => listener.close());
  return listener;
}

/** A dial that is refused at once: those before it have reached the listener by then. */
const roundTrip = (listener: RingListener) =>
  dialListener(listener.port, { generation: 0, from: 0, to: 0 }, "no proof").catch(() => {});

t.test("a dial that comes before its rank has entered the generation is the one that is accepted", async (t) => {
  const listener = await listen(t);
  const link = { generation: 5, from: 0, to: 1 };
  const early = dialListener(listener.port, link); // tries once
  await roundTrip(listener);
  const accepted = await listener.accept(link, handlers, never);
  const receiver = await early;
  const message = new Promise<Buffer>((resolve) => receiver.once("message", resolve));
  accepted.send(new Uint8Array([1]), new Uint8Array([2]));
  t.same([...(await message)], [1, 2]);
  await accepted.close();
});

const retreats: [string, (socket: Socket) => unknown][] = [
  ["hangs up", (socket) => socket.end()],
  ["speaks before it is answered", (socket) => socket.write("hello")],
];
for (const [name, act] of retreats)
  t.test(`an early dial that ${name} is refused, and the next one is accepted`, async (t) => {
    const listener = await listen(t);
    const link = { generation: 5, from: 0, to: 1 };
    const early = await rawDial(listener, link);
    act(early);
    await roundTrip(listener);
    const accepting = listener.accept(link, handlers, never);
    const receiver = await dialListener(listener.port, link);
    (await accepting).cut();
    await once(receiver, "close");
    t.match(await text(early), /^HTTP\/1.1 409 /);
  });

t.test("no more than 16 early dials wait, the newest, and they end with the listener", async (t) => {
  const listener = await listenForRing({ host, port: 0, secret, run });
  const linkOf = (generation: number) => ({ generation, from: 0, to: 1 });
  const dials = [];
  for (let generation = 0; generation < 17; generation++) {
    const dial = dialListener(listener.port, linkOf(generation));
    dials.push(dial.catch((error: Error) => error));
    await roundTrip(listener);
  }
  const abort = new AbortController();
  const oldest = listener.accept(linkOf(0), handlers, abort.signal);
  t.match(await dials[0], conflict, "comes too late to be accepted");
  abort.abort();
  await t.rejects(oldest, { code: "LINK_TIMEOUT", peerRank: 1 });
  const accepting = listener.accept(linkOf(1), handlers, never);
  t.match(await dials[1], { readyState: 1 }, "waits");
  (await accepting).cut();
  await listener.close();
  for (const dial of dials.slice(2)) t.match(await dial, conflict);
});

t.test("an early dial that nobody accepts is refused in the end", async (t) => {
  const listener = await listen(t);
  await t.rejects(dialListener(listener.port, { generation: 5, from: 0, to: 1 }), conflict);
});

t.test("a ring aborted while it opens leaves no link, and the next one opens on the same listeners", async (t) => {
  const [first, second] = [await listen(t), await listen(t)];
  const abort = new AbortController();
  const optionsOf = optionsFor(first, second);
  const opening = openRing({ ...optionsOf(0, 1), signal: abort.signal }); // its dial waits at the second listener
  const half = await dialListener(first.port, { generation: 1, from: 0, to: 1 }); // its other link stands
  const ended = once(half, "close");
  abort.abort(new Error("regroup"));
  await t.rejects(opening, { message: "regroup" });
  await ended;
  const rings = await Promise.all([openRing(optionsOf(0, 2)), openRing(optionsOf(1, 2))]);

  // while the links of generation 2 close, with bulk on the way, generation 3 opens
  for (const [rank, ring] of rings.entries()) {
    ring.open(0, [0]);
    ring.ready(0, 0, rank);
  }
  const closing = rings.map((ring) => ring.close());
  const next = await Promise.all([openRing(optionsOf(0, 3)), openRing(optionsOf(1, 3))]);
  await Promise.all(closing);
  await Promise.all(next.map((ring) => ring.close()));
});

t.test("a ring aborted in the moment in which its last link stands leaves no link", async (t) => {
  const [first, second] = [await listen(t), await listen(t)];
  const abort = new AbortController();
  const listener: RingListener = {
    ...first,
    async accept(...expected) {
      const link = await first.accept(...expected);
      abort.abort(new Error("regroup"));
      return link;
    },
  };
  const opening = openRing({ ...optionsFor(first, second)(0, 1), listener, signal: abort.signal });
  const aborted = t.rejects(opening, { message: "regroup" });
  let ended: () => void = () => {};
  const incomingEnded = new Promise<void>((resolve) => {
    ended = resolve;
  });
  await second.accept({ generation: 1, from: 1, to: 0 }, { message() {}, ended }, never);
  const outgoing = await dialListener(first.port, { generation: 1, from: 0, to: 1 });
  const outgoingEnded = once(outgoing, "close");
  await Promise.all([aborted, incomingEnded, outgoingEnded]);
});

function optionsFor(first: RingListener, second: RingListener) {
  return (rank: number, generation: number) => ({
    ...{ rank, seating: [0, 1], layout, segmentFloats: 1024, generation, run, secret, onHeld() {}, onFault() {} },
    memory: rankMemory(layout, [rank]),
    listener: rank === 0 ? first : second,
    peers: [first, second].map(({ port }, peer) => ({ rank: peer, host, port })),
  });
}

/** The handshake of a ring's link over a bare socket, on its way to the listener. */
async function rawDial(listener: RingListener, link: LinkEnds): Promise<Socket> {
  const socket = connect({ port: listener.port, host, allowHalfOpen: true });
  const { generation, from, to } = link;
  socket.write(
    `GET /ring?generation=${generation}&from=${from}&to=${to} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: ${authorization(secret, run, "/ring", link)}\r\n\r\n`,
  );
  await roundTrip(listener);
  return socket;
}
