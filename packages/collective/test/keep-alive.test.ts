import t from "tap";
import type { CollectiveError } from "../src/collective-error.ts";
import { openRing } from "../src/open-ring.ts";
import { listenForRing } from "../src/ring-listener.ts";
import { fakePeer } from "./fixtures/fake-peer.ts";
import { rankMemory } from "./fixtures/rank-memory.ts";
import { layoutOf } from "./fixtures/seatings.ts";
import { host, run, secret } from "./fixtures/socket-world.ts";
import { tcpProxy } from "./fixtures/tcp-proxy.ts";

const layout = layoutOf(2, [64]);

t.test("ranks between which nothing passes any more find each other silent", async (t) => {
  const listeners = await Promise.all([0, 1].map(() => listenForRing({ host, port: 0, secret, run })));
  const proxies = await Promise.all(listeners.map(({ port }) => tcpProxy(port)));
  const peers = proxies.map(({ port }, rank) => ({ rank, host, port }));
  const faults: Promise<CollectiveError>[] = [];
  const rings = await Promise.all(
    listeners.map((listener, rank) => {
      let onFault: (error: CollectiveError) => void = () => {};
      faults.push(
        new Promise((resolve) => {
          onFault = resolve;
        }),
      );
      return openRing({
        ...{ rank, seating: [0, 1], layout, segmentFloats: 16, generation: 1, run, secret, peers, listener, onFault },
        memory: rankMemory(layout, [rank]),
        keepAlive: { pingMs: 50, silenceMs: 500 },
        onHeld() {},
      });
    }),
  );
  for (const proxy of proxies) proxy.freeze();
  t.match(await Promise.all(faults), [
    { code: "LINK_LOST", peerRank: 1, message: /silent for \d+ ms/ },
    { code: "LINK_LOST", peerRank: 0, message: /silent for \d+ ms/ },
  ]);
  for (const ring of rings) ring.cut();
  await Promise.all(proxies.map((proxy) => proxy.stop()));
  await Promise.all(listeners.map((listener) => listener.close()));
});

t.test("an idle link whose peer answers is kept", async (t) => {
  const listener = await listenForRing({ host, port: 0, secret, run });
  const peer = await fakePeer(listener, 1, { pingMs: 20, silenceMs: 500 });
  let pings = 0;
  const longerThanSilence = new Promise((resolve) => peer.fromReal.on("ping", () => ++pings === 50 && resolve("kept")));
  t.equal(await Promise.race([longerThanSilence, peer.fault]), "kept");
  await peer.stop();
  await listener.close();
});

t.test("a rank that was stopped itself judges nobody", async (t) => {
  const listener = await listenForRing({ host, port: 0, secret, run });
  const peer = await fakePeer(listener, 1, { pingMs: 20, silenceMs: 400 });
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500); // this thread, as if its process were stopped
  const heard = new Promise((resolve) => peer.fromReal.once("ping", () => resolve("judges nobody")));
  t.equal(await Promise.race([heard, peer.fault]), "judges nobody");
  await peer.stop();
  await listener.close();
});

t.test("a cut link leaves no timer behind", async (t) => {
  const listener = await listenForRing({ host, port: 0, secret, run });
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const before = timers();
  const peer = await fakePeer(listener, 1);
  await peer.stop();
  await listener.close();
  t.equal(timers(), before);
});
