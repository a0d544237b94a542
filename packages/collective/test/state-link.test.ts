import { randomFillSync } from "node:crypto";
import { encodeStateHeader } from "@ringmaster/protocol";
import t from "tap";
import { type FetchStateOptions, fetchState } from "../src/fetch-state.ts";
import { authorization } from "../src/link-address.ts";
import { listenForRing, type RingListener } from "../src/ring-listener.ts";
import type { StateOffer } from "../src/state-offer.ts";
import { dialListener } from "./fixtures/fake-peer.ts";
import { createSharedMemory } from "./fixtures/shared-memory.ts";
import { host, run, secret } from "./fixtures/socket-world.ts";
import { tcpProxy } from "./fixtures/tcp-proxy.ts";

const generation = 4;
const about = [Buffer.from("a message"), Buffer.from("and another")];
const never = new AbortController().signal;

/** Tensors of these lengths somewhere in a shared memory, as a rank's are. */
function tensors(lengths: readonly number[]): Uint8Array[] {
  const memory = createSharedMemory(lengths.reduce((sum, length) => sum + length + 64, 0));
  let at = 0;
  return lengths.map((length) => {
    const tensor = new Uint8Array(memory.buffer, at, length);
    const values = randomFillSync(new Uint8Array(Math.min(length, 65_536)));
    for (let from = 0; from < length; from += values.length) tensor.set(values.subarray(0, length - from), from);
    at += length + 64;
    return tensor;
  });
}

function offerOf(parts: readonly Uint8Array[], step = 17): StateOffer {
  return { generation, step, about, parts };
}

function optionsOf(
  port: number,
  parts: readonly Uint8Array[],
  more: Partial<FetchStateOptions> = {},
): FetchStateOptions {
  const totalBytes = parts.reduce((sum, part) => sum + part.length, 0);
  return { ...{ host, port, generation, from: 0, to: 1, secret, run, step: 17, totalBytes, signal: never }, ...more };
}

async function listen(t: { teardown(end: () => Promise<unknown>): void }): Promise<RingListener> {
  const listener = await listenForRing({ host, port: 0, secret, run });
  t.teardown(() => listener.close());
  return listener;
}

t.test("two members copy a state at once, byte for byte", async (t) => {
  const listener = await listen(t);
  const parts = tensors([4, 0, 5_000_000, 64, 2 ** 20, 12]);
  listener.offerState(offerOf(parts));
  const copies = await Promise.all([1, 2].map((to) => fetchState(optionsOf(listener.port, parts, { to }))));
  for (const copy of copies) {
    t.ok(Buffer.concat(parts).equals(copy.bytes));
    t.same(
      copy.about,
      about.map((word) => new Uint8Array(word)),
    );
  }
});

t.test("a state without tensors is what is said about it", async (t) => {
  const listener = await listen(t);
  listener.offerState({ ...offerOf([]), about: [new Uint8Array()] });
  t.same(await fetchState(optionsOf(listener.port, [])), { about: [new Uint8Array()], bytes: new Uint8Array() });
});

t.test("a fetch that comes before the offer waits for it", async (t) => {
  const listener = await listen(t);
  const parts = tensors([1000]);
  const fetching = fetchState(optionsOf(listener.port, parts));
  await t.rejects(dialState(listener), conflict); // a whole exchange passes
  listener.offerState(offerOf(parts));
  t.ok(Buffer.concat(parts).equals((await fetching).bytes));
});

const withdrawals: [string, (listener: RingListener) => unknown][] = [
  ["is withdrawn", (listener) => listener.offerState(undefined)],
  ["is replaced", (listener) => listener.offerState(offerOf([], 18))],
  ["ends with its listener", (listener) => listener.close()],
];
for (const [name, act] of withdrawals)
  t.test(`an offer that ${name} within a transfer loses the link`, async (t) => {
    const listener = await listen(t);
    const parts = tensors([64 * 2 ** 20]);
    const proxy = await tcpProxy(listener.port);
    listener.offerState(offerOf(parts));
    const fetching = fetchState(optionsOf(proxy.port, parts));
    const failed = t.rejects(fetching, { code: "LINK_LOST", peerRank: 0 });
    await proxy.passed(2 ** 20);
    act(listener);
    await failed;
    await proxy.stop();
  });

t.test("a member that goes silent within a transfer is not waited for", async (t) => {
  const listener = await listen(t);
  const parts = tensors([64 * 2 ** 20]);
  const proxy = await tcpProxy(listener.port);
  listener.offerState(offerOf(parts));
  const fetching = fetchState(optionsOf(proxy.port, parts, { stallMs: 200 }));
  const failed = t.rejects(fetching, { code: "LINK_TIMEOUT", message: /silent for/ });
  await proxy.passed(2 ** 20);
  proxy.freeze();
  await failed;
  await proxy.stop();
});

t.test("an aborted fetch rejects with the reason, while it dials and within a transfer", async (t) => {
  const listener = await listen(t);
  const parts = tensors([64 * 2 ** 20]);
  const reason = new Error("regroup");
  await t.rejects(fetchState(optionsOf(listener.port, parts, { signal: AbortSignal.abort(reason) })), reason);
  const dialling = new AbortController();
  const waiting = fetchState(optionsOf(listener.port, parts, { signal: dialling.signal }));
  await t.rejects(dialState(listener), conflict);
  dialling.abort(reason);
  await t.rejects(waiting, reason);

  const proxy = await tcpProxy(listener.port);
  listener.offerState(offerOf(parts));
  const copying = new AbortController();
  const fetching = fetchState(optionsOf(proxy.port, parts, { signal: copying.signal }));
  const failed = t.rejects(fetching, reason);
  await proxy.passed(2 ** 20);
  copying.abort(reason);
  await failed;
  await proxy.stop();
});

const conflict = { message: "Unexpected server response: 409" };
const unauthorized = { message: "Unexpected server response: 401" };
const link = { generation, from: 0, to: 1 };
const dialState = (listener: RingListener, asked = link) =>
  dialListener(listener.port, asked, authorization(secret, run, "/state", asked), "/state");

t.test("a state is offered to proven members of its generation alone", async (t) => {
  const listener = await listen(t);
  listener.offerState(offerOf(tensors([1000])));
  const port = listener.port;
  await t.rejects(dialState(listener, { ...link, generation: 3 }), conflict, "an older generation");
  await t.rejects(dialState(listener, { ...link, generation: 5 }), conflict, "a newer generation");
  await t.rejects(dialState(listener, { ...link, to: 1024 }), { message: /400/ }, "no position in a world");
  await t.rejects(dialListener(port, link, "", "/state"), unauthorized, "no proof");
  const ringProof = authorization(secret, run, "/ring", link);
  await t.rejects(dialListener(port, link, ringProof, "/state"), unauthorized, "a ring link's proof");
  const accepting = listener.accept(link, { message() {}, ended() {} }, never);
  const stateProof = authorization(secret, run, "/state", link);
  await t.rejects(dialListener(port, link, stateProof, "/ring"), unauthorized, "a state link's proof opens no ring");
  const receiver = await dialListener(port, link);
  (await accepting).cut();
  receiver.terminate();
  await t.rejects(fetchState(optionsOf(port, [], { secret: "guessed" })), { code: "LINK_REFUSED", peerRank: 0 });
  await t.rejects(fetchState(optionsOf(port, [], { run: "another" })), { code: "LINK_REFUSED", peerRank: 0 });
});

t.test("a fetcher that speaks is cut, and one that dials again replaces its first link", async (t) => {
  const listener = await listen(t);
  const parts = tensors([64 * 2 ** 20]);
  listener.offerState(offerOf(parts));
  const speaks = await dialState(listener);
  speaks.on("error", () => {});
  speaks.send("x");
  await new Promise((resolve) => speaks.once("close", resolve));
  const first = await dialState(listener);
  first.pause(); // its transfer stands
  const replaced = new Promise((resolve) => first.once("close", resolve));
  t.ok(Buffer.concat(parts).equals((await fetchState(optionsOf(listener.port, parts))).bytes));
  first.resume();
  t.equal(await replaced, 1006, "not in order");
});

t.test("an offer or a fetch that cannot be is refused where it is made", async (t) => {
  const listener = await listen(t);
  const longest = new Uint8Array(2 ** 23);
  for (const [name, wrong] of [
    ["nothing", []],
    ["a message too long", [new Uint8Array(2 ** 23 + 1)]],
    ["too many", new Array<Uint8Array>(9).fill(longest)],
    ["a part of a state", [encodeStateHeader({ generation, step: 17, byteOffset: 0 }, 0)]],
  ] as const)
    t.throws(() => listener.offerState({ ...offerOf([]), about: wrong }), { code: "MISUSE" }, `it tells ${name}`);
  t.throws(() => listener.offerState({ ...offerOf([]), step: -1 }), { name: "ProtocolError" });
  for (const totalBytes of [-1, 0.5, 2 ** 40])
    await t.rejects(fetchState(optionsOf(listener.port, [], { totalBytes })), { code: "MISUSE" });
});
