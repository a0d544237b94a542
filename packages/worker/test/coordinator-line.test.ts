import { once } from "node:events";
import {
  type ControlLink,
  dialCoordinator,
  listenForWorkers,
  memoryLinkPair,
  TransportError,
  type WorkerListener,
} from "@ringmaster/transport";
import t, { type Test } from "tap";
import { CoordinatorLine } from "../src/coordinator-line.ts";

const token = "a-token-of-a-run";
/** Any message. */
const word = new Uint8Array([0xc0]);

/** What happens, to be waited for one by one. */
function happenings() {
  const queue: string[] = [];
  const target = new EventTarget();
  return {
    add(what: string) {
      queue.push(what);
      target.dispatchEvent(new Event("added"));
    },
    async next(): Promise<string> {
      while (queue.length === 0) await once(target, "added");
      return queue.shift() ?? "";
    },
  };
}

/** A coordinator's end over real sockets; it greets. */
async function coordinator(t: Test, port = 0) {
  const links: ControlLink[] = [];
  const listener = await listenForWorkers({
    host: "127.0.0.1",
    port,
    token,
    onLink(link) {
      links.push(link);
      link.listen({ message() {}, closed() {} });
      link.send(word);
    },
    onRefused() {},
  });
  t.teardown(() => listener.close());
  return { listener, links };
}

const dialling =
  ({ port }: WorkerListener, as = token) =>
  (signal: AbortSignal) =>
    dialCoordinator({ url: `ws://127.0.0.1:${port}`, token: as, patienceMs: 0, signal });

function lineTo(t: Test, connect: (signal: AbortSignal) => Promise<ControlLink>, patienceMs = 60_000) {
  const { add, next } = happenings();
  const line = new CoordinatorLine({
    connect,
    patienceMs,
    events: {
      up: () => add("up"),
      message: () => add("message"),
      down: (reason) => add(`down: ${reason}`),
      refused: (error) => add(`refused: ${error instanceof TransportError ? error.code : error}`),
      over: (message) => add(`over: ${message}`),
      heartbeat: () => word,
    },
  });
  t.teardown(() => line.close("the test is over"));
  line.start();
  return { line, next };
}

t.test("after a loss it connects again, and hears the next coordinator", async (t) => {
  const { listener, links } = await coordinator(t);
  const { next } = lineTo(t, dialling(listener));
  t.same([await next(), await next()], ["up", "message"]);
  links[0]?.close("replaced");
  t.same([await next(), await next(), await next()], ["down: replaced", "up", "message"]);
  t.equal(links.length, 2);
});

t.test("a coordinator that starts late at the same address is found", async (t) => {
  const { listener } = await coordinator(t);
  const { port } = listener;
  const { next } = lineTo(t, dialling(listener));
  await next();
  await next();
  await listener.close();
  t.match(await next(), /^down: /);
  await coordinator(t, port);
  t.same([await next(), await next()], ["up", "message"]);
});

t.test("whoever hangs up hears no more of that connection, and gets another", async (t) => {
  const { listener, links } = await coordinator(t);
  const { line, next } = lineTo(t, dialling(listener));
  await next();
  await next();
  line.hangUp("an old coordinator");
  links[0]?.send(word);
  t.same([await next(), await next(), await next()], ["down: an old coordinator", "up", "message"]);
});

t.test("a coordinator that says nothing, though its connection stands, is given up for another", async (t) => {
  const { listener, links } = await coordinator(t);
  const { next } = lineTo(t, dialling(listener));
  await next();
  await next();
  t.match(await next(), /^down: the coordinator has said nothing for \d+ ms$/);
  t.equal(await next(), "up");
  t.equal(links.length, 2);
});

t.test("heartbeats are sent over whatever connection is up", async (t) => {
  const [near, far] = memoryLinkPair();
  const { add, next } = happenings();
  far.listen({ message: (bytes) => add(`beat of ${bytes.length} byte`), closed() {} });
  lineTo(t, async () => near);
  t.same([await next(), await next()], ["beat of 1 byte", "beat of 1 byte"]);
});

t.test("a first connection that is refused is the end, and tried once", async (t) => {
  const { listener } = await coordinator(t);
  const { next } = lineTo(t, dialling(listener, "another-token"));
  t.equal(await next(), "refused: TOKEN_REFUSED");
});

t.test("a later one that is refused for good is the end", async (t) => {
  const { listener, links } = await coordinator(t);
  let as = token;
  const { next } = lineTo(t, (signal) => dialling(listener, as)(signal));
  await next();
  await next();
  as = "another-token";
  links[0]?.close("going");
  t.equal(await next(), "down: going");
  t.match(await next(), /^over: going; the coordinator at .* refused the token/);
});

t.test("a link within the process that cannot be dialled again is the end, once it is lost", async (t) => {
  const [near, far] = memoryLinkPair();
  const links = [near];
  const { next } = lineTo(t, async () => {
    const link = links.pop();
    if (link) return link;
    throw new Error("there is one link only");
  });
  t.equal(await next(), "up");
  far.close("the coordinator has ended");
  t.equal(await next(), "down: the coordinator has ended");
  t.equal(await next(), "over: the coordinator has ended; there is one link only");
});

t.test("without any coordinator its patience ends", async (t) => {
  const { listener } = await coordinator(t);
  const { next } = lineTo(t, dialling(listener), 600);
  await next();
  await next();
  await listener.close();
  t.match(await next(), /^down: /);
  t.match(await next(), /^over: .*; without a coordinator for 1 s$/);
});

t.test("an old coordinator that answers and is hung up upon again and again is none", async (t) => {
  const { listener, links } = await coordinator(t);
  const { line, next } = lineTo(t, dialling(listener), 600);
  let last = "";
  while (!last.startsWith("over")) {
    last = await next();
    if (last === "message") line.hangUp("an old coordinator");
  }
  t.equal(last, "over: an old coordinator; without a coordinator for 1 s");
  t.ok(links.length > 1);
});

t.test("a coordinator that is welcomed is waited for anew when it is lost", async (t) => {
  const { listener, links } = await coordinator(t);
  const { line, next } = lineTo(t, dialling(listener), 600);
  for (let connection = 0; connection < 20; connection++) {
    while ((await next()) !== "message");
    line.welcomed();
    links[connection]?.close("going");
  }
  t.equal(links.length, 20);
});

t.test("a connection that comes when it is closed already is closed too", async (t) => {
  const [near, far] = memoryLinkPair();
  const { add, next } = happenings();
  far.listen({ message() {}, closed: (reason) => add(`closed: ${reason}`) });
  let resolve: (link: ControlLink) => void = () => {};
  const { line } = lineTo(t, () => new Promise((given) => (resolve = given)));
  line.close("over");
  resolve(near);
  t.equal(await next(), "closed: the worker has ended");
});
