import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import t from "tap";
import { dialCoordinator, listenForWorkers } from "../src/index.ts";
import { startCoordinator, token } from "./fixtures/coordinator.ts";
import { listenTo } from "./fixtures/ear.ts";

/** A port on which nobody listens now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

for (const url of [
  "",
  "localhost:4600",
  "http://localhost:4600",
  "wss://localhost:4600",
  "ws://localhost",
  "ws://:4600",
  "ws://a:99999",
  "ws://[::1]",
])
  t.test(`the address ${JSON.stringify(url)} is refused at once, with an example of a good one`, (t) =>
    t.rejects(dialCoordinator({ url, token }), {
      name: "TransportError",
      code: "BAD_ADDRESS",
      message: /such as ws:\/\/host:4600/,
    }),
  );

for (const host of ["127.0.0.1", "localhost"])
  t.test(`a coordinator at ${host} that never answers is given up with its address and the reason`, async (t) => {
    const url = `ws://${host}:${await freePort()}`;
    const message = new RegExp(`no coordinator answers at ${url} \\(.*ECONNREFUSED.*\\); is the coordinator running`);
    await t.rejects(dialCoordinator({ url, token, patienceMs: 1 }), { code: "COORDINATOR_UNREACHABLE", message });
  });

t.test("the protocol's own port is a port like any other", async (t) => {
  const dialled = dialCoordinator({ url: "ws://127.0.0.1:80", token, patienceMs: 1 });
  await t.rejects(dialled, { message: /127\.0\.0\.1:80/ });
});

t.test("a wrong token is refused at once, with advice", async (t) => {
  const coordinator = await startCoordinator(t);
  await t.rejects(dialCoordinator({ url: coordinator.url, token: "guess" }), {
    code: "TOKEN_REFUSED",
    message: /refused the token; use the one that the coordinator printed/,
  });
  t.same(coordinator.refusals, ["wrong token"], "it is not tried again");
});

t.test("a server that is no coordinator is told from one", async (t) => {
  const server = createHttpServer().listen(0, "127.0.0.1");
  server.on("upgrade", (_request, socket) => socket.end("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"));
  t.teardown(() => server.close());
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await t.rejects(dialCoordinator({ url: `ws://127.0.0.1:${port}`, token }), {
    code: "BAD_ADDRESS",
    message: /is no coordinator \(HTTP 404\)/,
  });
});

t.test("a worker that comes before its coordinator joins as soon as that listens", async (t) => {
  // Somebody who hangs up at once holds the port until the first try was made.
  const early = createServer((socket) => socket.destroy()).listen(0, "127.0.0.1");
  await once(early, "listening");
  const { port } = early.address() as AddressInfo;
  const waiting: string[] = [];
  const dialled = dialCoordinator({
    url: `ws://127.0.0.1:${port}`,
    token,
    onWaiting: (why) => waiting.push(why),
  });
  await once(early, "connection");
  early.close();
  await once(early, "close");
  const opened = new Promise<void>((resolve) => {
    const listening = listenForWorkers({
      host: "127.0.0.1",
      port,
      token,
      onLink(link) {
        listenTo(link);
        resolve();
      },
      onRefused: (_peer, reason) => t.fail(reason),
    });
    t.teardown(async () => (await listening).close());
  });
  const link = await dialled;
  listenTo(link);
  await opened;
  t.equal(link.peer, `127.0.0.1:${port}`);
  t.equal(waiting.length, 1, "it said so, once");
});

t.test("a worker that is asked to end stops trying", async (t) => {
  const url = `ws://127.0.0.1:${await freePort()}`;
  const reason = new Error("asked to end");
  await t.rejects(dialCoordinator({ url, token, signal: AbortSignal.abort(reason) }), reason);
});

t.test("what the coordinator says in the very packet that opens the link is heard", async (t) => {
  const coordinator = await startCoordinator(t, (link) => link.send(new Uint8Array([42])));
  const ear = listenTo(await dialCoordinator({ url: coordinator.url, token }));
  await ear.until(({ messages }) => messages.length === 1);
  t.same([...(ear.messages[0] ?? [])], [42]);
});
