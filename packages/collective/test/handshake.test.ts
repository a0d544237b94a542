import t from "tap";
import { authorization } from "../src/link-address.ts";
import { type OpenRingOptions, openRing } from "../src/open-ring.ts";
import { listenForRing, type RingListener } from "../src/ring-listener.ts";
import { dialListener } from "./fixtures/fake-peer.ts";
import { rankMemory } from "./fixtures/rank-memory.ts";
import { layoutOf } from "./fixtures/seatings.ts";
import { host, run, secret } from "./fixtures/socket-world.ts";

const layout = layoutOf(2, [64]);

function optionsOf(rank: number, listener: RingListener, peerPort: number): OpenRingOptions {
  return {
    ...{ rank, seating: [0, 1], layout, segmentFloats: 16, generation: 3, secret, run, listener },
    memory: rankMemory(layout, [rank]),
    peers: [{ rank: 1 - rank, host, port: peerPort }],
    onHeld() {},
    onFault() {},
  };
}

async function twoListeners(t: Tap): Promise<[RingListener, RingListener]> {
  const first = await listenForRing({ host, port: 0, secret, run });
  const second = await listenForRing({ host, port: 0, secret, run });
  t.teardown(() => Promise.all([first.close(), second.close()]));
  return [first, second];
}
type Tap = { teardown(end: () => Promise<unknown>): void };

t.test("a dial without proof, of another run, generation or pair is refused before the upgrade", async (t) => {
  const [listener, absent] = await twoListeners(t);
  const waiting = new AbortController();
  const opening = openRing({ ...optionsOf(0, listener, absent.port), signal: waiting.signal });
  opening.catch(() => {});
  const expected = { generation: 3, from: 0, to: 1 };
  const proofOf = (link = expected, ofRun = run, ofSecret = secret) => authorization(ofSecret, ofRun, "/ring", link);
  const cases: [string, number, typeof expected, string][] = [
    ["no proof", 401, expected, ""],
    ["another secret", 401, expected, proofOf(expected, run, "guessed")],
    ["another run", 401, expected, proofOf(expected, "other-run")],
    ["another link's proof", 401, expected, proofOf({ ...expected, generation: 2 })],
    ["an older generation", 409, { ...expected, generation: 2 }, proofOf({ ...expected, generation: 2 })],
    ["another sender", 409, { ...expected, from: 1 }, proofOf({ ...expected, from: 1 })],
    ["another receiver", 409, { ...expected, to: 0 }, proofOf({ ...expected, to: 0 })],
    ["no whole number", 400, { ...expected, to: -1 }, ""],
  ];
  for (const [name, status, link, proof] of cases)
    await t.rejects(
      dialListener(listener.port, link, proof),
      { message: `Unexpected server response: ${status}` },
      name,
    );
  const link = await dialListener(listener.port, expected);
  link.on("error", () => {});
  await t.rejects(
    dialListener(listener.port, expected),
    { message: "Unexpected server response: 409" },
    "a second dial",
  );
  waiting.abort(new Error("enough"));
  await t.rejects(opening, { message: "enough" });
  link.terminate();
});

t.test("a ring whose previous rank has another secret is refused at once", async (t) => {
  const listener = await listenForRing({ host, port: 0, secret, run });
  const foreign = await listenForRing({ host, port: 0, secret: "another", run });
  t.teardown(() => Promise.all([listener.close(), foreign.close()]));
  await t.rejects(openRing(optionsOf(0, listener, foreign.port)), { code: "LINK_REFUSED", peerRank: 1 });
});

t.test("a ring whose neighbour does not come gives up in time and says who is missing", async (t) => {
  const [listener, absent] = await twoListeners(t);
  const options = { ...optionsOf(0, listener, absent.port), connectTimeoutMs: 100 };
  await t.rejects(openRing(options), { code: "LINK_TIMEOUT", peerRank: 1, message: /could not dial/ });
});

t.test("a ring opens although a rank comes later than the other", async (t) => {
  const [first, second] = await twoListeners(t);
  const early = openRing(optionsOf(0, first, second.port));
  await dialListener(second.port, { generation: 3, from: 1, to: 0 }).catch(() => {}); // a whole exchange passes
  const rings = await Promise.all([early, openRing(optionsOf(1, second, first.port))]);
  await Promise.all(rings.map((ring) => ring.close()));
});

t.test("an aborted ring dials nobody", async (t) => {
  const [listener, absent] = await twoListeners(t);
  const signal = AbortSignal.abort(new Error("not needed any more"));
  await t.rejects(openRing({ ...optionsOf(0, listener, absent.port), signal }), { message: "not needed any more" });
});

t.test("a ring without its peer's address, or with segments too long for a message, is refused", async (t) => {
  const [listener, absent] = await twoListeners(t);
  await t.rejects(openRing({ ...optionsOf(0, listener, absent.port), peers: [] }), { code: "MISUSE" });
  await t.rejects(openRing({ ...optionsOf(0, listener, absent.port), segmentFloats: 65_537 }), { code: "BAD_LAYOUT" });
});

t.test("a port that is taken is said so", async (t) => {
  const [listener] = await twoListeners(t);
  await t.rejects(listenForRing({ host, port: listener.port, secret, run }), {
    code: "LISTEN_FAILED",
    message: /EADDRINUSE/,
  });
});

t.test("a plain HTTP request is told what is spoken here", async (t) => {
  const [listener] = await twoListeners(t);
  const response = await fetch(`http://${host}:${listener.port}/ring`);
  t.equal(response.status, 426);
  await response.text();
});
