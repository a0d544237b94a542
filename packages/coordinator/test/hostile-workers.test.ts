/** Whatever arrives at the port while a run gathers: its connection ends with a coded error, and the run is unharmed. */
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { openCheckpoints } from "@ringmaster/checkpoint";
import { encodeControl, encodeRingHeader, encodeStateHeader, maxControlBytes } from "@ringmaster/protocol";
import fc from "fast-check";
import t, { type Test } from "tap";
import { WebSocket } from "ws";
import { openJournal, runCoordinator } from "../src/index.ts";
import type { FakeWorker } from "./fixtures/fake-worker.ts";
import { config, hash, helloOf, idOf, readyWith } from "./fixtures/messages.ts";
import { begin, type Running, startRun, token } from "./fixtures/running.ts";

/** Two fresh workers can still join, and the run begins. */
async function isUnharmed(t: Test, run: Running): Promise<void> {
  const workers = [await run.connect(), await run.connect()];
  for (const [index, worker] of workers.entries()) worker.say(helloOf(index));
  for (const worker of workers) {
    await worker.heard("CoordinatorStart");
    worker.say(readyWith());
  }
  const opened = await Promise.all(workers.map((worker) => worker.heard("CoordinatorRegroup")));
  for (const { members } of opened) t.same(members.toSorted(), [idOf(0), idOf(1)], "fresh workers are members");
}

t.test("without the run's token nobody comes in", async (t) => {
  const run = await startRun(t);
  for (const headers of [{}, { authorization: "Bearer guess" }]) {
    const socket = new WebSocket(`${run.url}/worker`, { headers });
    socket.on("error", () => {});
    const [, response] = await once(socket, "unexpected-response");
    t.equal(response.statusCode, 401);
    response.destroy();
  }
  t.match(run.events, [
    { type: "refused", code: "TOKEN_REFUSED", message: "no token" },
    { type: "refused", code: "TOKEN_REFUSED", message: "wrong token" },
  ]);
  await isUnharmed(t, run);
});

t.test("a port that is taken ends the coordinator with an error, and leaves nothing running", async (t) => {
  const run = await startRun(t);
  const runFolder = mkdtempSync(join(run.runFolder, "second-"));
  const second = runCoordinator({
    ranks: 1,
    configHash: hash("c"),
    datasetHash: hash("d"),
    configFor: () => config,
    journal: await openJournal(runFolder, { kind: "fresh" }),
    store: openCheckpoints(runFolder),
    resume: null,
    recover: null,
    keptThrough: () => 0,
    keepNow: async () => {},
    workers: {
      kind: "listen",
      host: "127.0.0.1",
      port: Number(new URL(run.url).port),
      token,
      onListening: () => t.fail("it cannot listen"),
    },
    onEvent: () => {},
    stop: new AbortController().signal,
    hurry: new AbortController().signal,
  });
  await t.rejects(second, { code: "PORT_TAKEN" });
});

const text = (characters: string) => Buffer.from(characters, "latin1");
const hello = encodeControl(helloOf(9));
const malformed: readonly { what: string; bytes: Uint8Array; code: string }[] = [
  { what: "nothing at all", bytes: new Uint8Array(), code: "MESSAGE_CUT_SHORT" },
  { what: "a message of no known type", bytes: text("\x81\xa4type\xa4Nope"), code: "MESSAGE_UNKNOWN" },
  {
    what: "a message that only a coordinator sends",
    bytes: encodeControl({ type: "CoordinatorFinish", reason: "" }),
    code: "MESSAGE_UNKNOWN",
  },
  { what: "a hello cut short", bytes: hello.subarray(0, hello.length - 1), code: "MESSAGE_CUT_SHORT" },
  { what: "a hello with something behind it", bytes: Buffer.concat([hello, text("\xc0")]), code: "MESSAGE_MALFORMED" },
  {
    what: "a hello of another version of the protocol",
    bytes: Buffer.from(Buffer.from(hello).toString("latin1").replace("protocol\x01", "protocol\x02"), "latin1"),
    code: "MESSAGE_INVALID",
  },
  { what: "a message that is deeper than any", bytes: text("\x81\xa1a".repeat(100)), code: "MESSAGE_TOO_LARGE" },
  {
    what: "a state that nobody announced",
    bytes: Buffer.concat([encodeStateHeader({ generation: 1, step: 0, byteOffset: 0 }, 4), new Uint8Array(4)]),
    code: "UNEXPECTED_MESSAGE",
  },
  {
    what: "a gradient",
    bytes: Buffer.concat([
      encodeRingHeader({ kind: "partial", generation: 1, round: 0, bucket: 0, chunk: 0, segment: 0 }, 4),
      new Uint8Array(4),
    ]),
    code: "UNEXPECTED_MESSAGE",
  },
  {
    what: "a bulk message cut short",
    bytes: encodeStateHeader({ generation: 1, step: 0, byteOffset: 0 }, 4),
    code: "MESSAGE_CUT_SHORT",
  },
  { what: "that it is ready, before it was asked", bytes: encodeControl(readyWith()), code: "UNEXPECTED_MESSAGE" },
];

/** Before its hello, and as one whom the run has admitted. */
const hostiles: readonly { who: string; join: (run: Running) => Promise<FakeWorker> }[] = [
  { who: "a stranger", join: (run) => run.connect() },
  {
    who: "a member",
    async join(run) {
      const worker = await run.connect();
      worker.say(helloOf(8));
      await run.heard("joined");
      return worker;
    },
  },
];

for (const { who, join } of hostiles) {
  for (const { what, bytes, code } of malformed)
    t.test(`${who} that sends ${what} is told ${code} and sent away`, async (t) => {
      const run = await startRun(t);
      const worker = await join(run);
      worker.socket.send(bytes);
      t.match(await worker.heard("CoordinatorAbort"), { code });
      await worker.closed;
      t.match(await run.heard("refused"), { code });
      await isUnharmed(t, run);
    });

  t.test(`${who} that sends random bytes is told so and sent away`, async (t) => {
    const run = await startRun(t);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (bytes) => {
        const worker = await join(run);
        worker.socket.send(bytes);
        const { code } = await worker.heard("CoordinatorAbort");
        if (!code.startsWith("MESSAGE_")) throw new Error(`found ${code}`);
        await worker.closed;
      }),
      { numRuns: 30 },
    );
    await isUnharmed(t, run);
  });

  for (const { what, commit, closeCode } of [
    {
      what: "a text frame",
      commit: (socket: WebSocket) => socket.send("WorkerHello"),
      closeCode: 1003,
    },
    {
      what: "a message of more than 8 MiB",
      commit: (socket: WebSocket) => socket.send(new Uint8Array(maxControlBytes + 1)),
      closeCode: 1009,
    },
  ])
    t.test(`${who} that sends ${what} is cut off with ${closeCode}`, async (t) => {
      const run = await startRun(t);
      const worker = await join(run);
      commit(worker.socket);
      worker.say(helloOf(7));
      t.match(await worker.closed, { code: closeCode });
      await isUnharmed(t, run);
      t.notMatch(JSON.stringify(run.events), helloOf(7).workerId, "what it said afterwards is not heard");
    });
}

t.test("a run under way is not disturbed by a stranger's bytes; a fresh worker joins it", async (t) => {
  const run = await startRun(t);
  await begin(run);
  const stranger = await run.connect();
  stranger.socket.send(text("\x81\xa4type\xa4Nope"));
  t.match(await stranger.heard("CoordinatorAbort"), { code: "MESSAGE_UNKNOWN" });
  const late = await run.connect();
  late.say(helloOf(5));
  await late.heard("CoordinatorStart");
  late.say(readyWith());
  t.match(await late.heard("CoordinatorRegroup"), { generation: 2, members: [idOf(0), idOf(1), idOf(5)] });
});

t.test("a member of a run under way that sends nonsense is left out; the others go on", async (t) => {
  const run = await startRun(t);
  const [first, second] = await begin(run);
  second.socket.send(text("\x81\xa4type\xa4Nope"));
  t.match(await second.heard("CoordinatorAbort"), { code: "MESSAGE_UNKNOWN" });
  t.match(await first.heard("CoordinatorRegroup", ({ generation }) => generation === 2), { members: [idOf(0)] });
});
