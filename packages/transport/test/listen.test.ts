import { once } from "node:events";
import { request } from "node:http";
import { connect } from "node:net";
import { maxControlBytes } from "@ringmaster/protocol";
import t, { type Test } from "tap";
import { WebSocket } from "ws";
import { dialCoordinator, listenForWorkers } from "../src/index.ts";
import { type Coordinator, startCoordinator, token } from "./fixtures/coordinator.ts";
import { isClosed, listenTo } from "./fixtures/ear.ts";

/** A worker written by hand. */
async function rawWorker(t: Test, { url }: Coordinator): Promise<WebSocket> {
  const socket = new WebSocket(`${url}/worker`, { headers: { authorization: `Bearer ${token}` } });
  t.teardown(() => socket.terminate());
  await once(socket, "open");
  return socket;
}

const turnedAway = [
  { who: "without a token", path: "/worker", headers: {}, status: 401, reason: "no token" },
  {
    who: "with a wrong token",
    path: "/worker",
    headers: { authorization: "Bearer guess" },
    status: 401,
    reason: "wrong token",
  },
  {
    who: "with the token of another scheme",
    path: "/worker",
    headers: { authorization: `Basic ${token}` },
    status: 401,
    reason: "no token",
  },
  {
    who: "with an empty token",
    path: "/worker",
    headers: { authorization: "Bearer " },
    status: 401,
    reason: "no token",
  },
  {
    who: "at another path",
    path: "/",
    headers: { authorization: `Bearer ${token}` },
    status: 404,
    reason: "expected the path /worker",
  },
];
for (const { who, path, headers, status, reason } of turnedAway)
  t.test(`a knock ${who} is turned away with ${status}`, async (t) => {
    const coordinator = await startCoordinator(t, () => t.fail("no link stands"));
    const socket = new WebSocket(`${coordinator.url}${path}`, { headers });
    socket.on("error", () => {});
    const [, response] = await once(socket, "unexpected-response");
    t.equal(response.statusCode, status);
    t.same(coordinator.refusals, [reason]);
    response.destroy();
  });

t.test("a token with spaces is compared as a whole", async (t) => {
  const coordinator = await startCoordinator(t, () => t.fail("no link stands"));
  await t.rejects(dialCoordinator({ url: coordinator.url, token: `${token} and more` }), { code: "TOKEN_REFUSED" });
  await t.rejects(dialCoordinator({ url: coordinator.url, token: token.split(" ")[0] ?? "" }), {
    code: "TOKEN_REFUSED",
  });
});

t.test("a browser that comes along is told what this is", async (t) => {
  const { listener } = await startCoordinator(t);
  const page = request({ port: listener.port, host: "127.0.0.1" }).end();
  const [response] = await once(page, "response");
  t.equal(response.statusCode, 426);
  const [text] = await once(response, "data");
  t.match(String(text), /Ringmaster coordinator/);
});

t.test("a port that is taken says so, and how to choose another", async (t) => {
  const { listener } = await startCoordinator(t);
  const again = listenForWorkers({ ...listener, token, onLink: () => {}, onRefused: () => {} });
  await t.rejects(again, { code: "PORT_TAKEN", message: new RegExp(`port ${listener.port} of 127.0.0.1 .*--port 0`) });
});

t.test("an address that is not this machine's cannot be listened on", async (t) => {
  const elsewhere = listenForWorkers({ host: "203.0.113.1", port: 0, token, onLink: () => {}, onRefused: () => {} });
  await t.rejects(elsewhere, { code: "LISTEN_FAILED", message: /203\.0\.113\.1/ });
});

t.test("closing does not wait for those who were turned away and linger, nor for silent ones", async (t) => {
  const coordinator = await startCoordinator(t);
  const lingering = connect({ port: coordinator.listener.port, host: "127.0.0.1", allowHalfOpen: true });
  const silent = connect({ port: coordinator.listener.port, host: "127.0.0.1", allowHalfOpen: true });
  t.teardown(() => [lingering, silent].map((socket) => socket.destroy()));
  for (const socket of [lingering, silent]) socket.on("error", () => {});
  lingering.write("GET /worker HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
  const [answer] = await once(lingering, "data");
  t.match(String(answer), /^HTTP\/1\.1 401 /);
  await coordinator.listener.close();
  t.pass("closed");
});

const faults: readonly { what: string; commit: (socket: WebSocket) => void; hears: RegExp; code: number }[] = [
  {
    what: "a text frame",
    commit: (socket) => socket.send("hello"),
    hears: /^MESSAGE_MALFORMED: expected binary/,
    code: 1003,
  },
  {
    what: "a message that is too large",
    commit: (socket) => socket.send(new Uint8Array(maxControlBytes + 1)),
    hears: /^MESSAGE_TOO_LARGE: expected a message of at most 8388608 bytes/,
    code: 1009,
  },
  {
    what: "a message that is too large in fragments",
    commit(socket) {
      for (let part = 0; part < 9; part++) socket.send(new Uint8Array(2 ** 20), { fin: part === 8 });
    },
    hears: /^MESSAGE_TOO_LARGE/,
    code: 1009,
  },
];
for (const { what, commit, hears, code } of faults)
  t.test(`${what} ends its link with a reason, and the next worker is served`, async (t) => {
    const coordinator = await startCoordinator(t);
    const socket = await rawWorker(t, coordinator);
    const ear = listenTo(await coordinator.nextLink());
    socket.send(new Uint8Array([1]));
    commit(socket);
    socket.send(new Uint8Array([2]));
    const [closeCode] = await once(socket, "close");
    t.equal(closeCode, code);
    await ear.until(isClosed);
    t.match(ear.closings, [hears]);
    t.same(
      ear.messages.map((message) => [...message]),
      [[1]],
      "what came after the fault is not heard",
    );

    const fresh = await dialCoordinator({ url: coordinator.url, token });
    const freshEar = listenTo(await coordinator.nextLink());
    fresh.send(new Uint8Array([3]));
    await freshEar.until(({ messages }) => messages.length === 1);
  });

t.test("bytes that are no WebSocket frame end their link", async (t) => {
  const coordinator = await startCoordinator(t);
  const socket = connect({ port: coordinator.listener.port, host: "127.0.0.1" });
  t.teardown(() => socket.destroy());
  const lines = ["GET /worker HTTP/1.1", "host: x", "connection: upgrade", "upgrade: websocket"];
  lines.push(
    "sec-websocket-version: 13",
    "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
    `authorization: Bearer ${token}`,
  );
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  const ear = listenTo(await coordinator.nextLink());
  socket.write(new Uint8Array(200).fill(0xff));
  // It does not answer the close frame either: it is cut off.
  socket.resume();
  await ear.until(isClosed);
  t.match(ear.closings, [/^MESSAGE_MALFORMED/]);
});

t.test("a worker that vanishes closes its link without a reason", async (t) => {
  const coordinator = await startCoordinator(t);
  const socket = await rawWorker(t, coordinator);
  const ear = listenTo(await coordinator.nextLink());
  socket.terminate();
  await ear.until(isClosed);
  t.same(ear.closings, [""]);
});
