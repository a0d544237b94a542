/** Whole runs over real sockets and a real run folder, with workers that follow a script. */

import { openCheckpoints } from "@ringmaster/checkpoint";
import {
  encodeControl,
  encodeStateHeader,
  maxStatePartBytes,
  parseCoordinatorMessage,
  type WorkerMessage,
} from "@ringmaster/protocol";
import { memoryLinkPair } from "@ringmaster/transport";
import t from "tap";
import { runCoordinator } from "../src/index.ts";
import type { FakeWorker } from "./fixtures/fake-worker.ts";
import {
  config,
  done,
  evaluated,
  hash,
  held,
  helloOf,
  progressAt,
  readyWith,
  stateOf,
  tensors,
} from "./fixtures/messages.ts";
import { begin, startRun } from "./fixtures/running.ts";
import { bytesOf, stateWith } from "./fixtures/state-bytes.ts";

const stateHash = (step: number): WorkerMessage => ({ type: "WorkerStateHash", generation: 1, step, hash: hash("e") });
const state = stateWith(tensors);

/** Uploads a state in parts of these sizes. */
function upload(
  worker: FakeWorker,
  step: number,
  bytes: Uint8Array,
  sizes: readonly number[],
  progress = progressAt(step),
): void {
  worker.say({ ...stateOf(step, bytes.length), progress });
  let byteOffset = 0;
  for (const size of sizes) {
    worker.sendPart(step, byteOffset, bytes.subarray(byteOffset, byteOffset + size));
    byteOffset += size;
  }
}

t.test("a run of two workers ends well, and its checkpoint holds every byte of the state", async (t) => {
  const run = await startRun(t);
  const workers = await begin(run);
  for (const worker of workers) worker.say(held(1), held(2), stateHash(2));
  workers[0].say(evaluated(2));
  workers[0].say(done(2));
  upload(workers[0], 2, state.bytes, [1, 50, 89]);
  t.same(await workers[1].heard("CoordinatorSaved"), { type: "CoordinatorSaved", step: 2 });
  workers[1].say(done(2));
  t.match(await run.end, { exitCode: 0, code: "FINISHED" });
  for (const worker of workers) t.match(worker.messages.at(-1), { type: "CoordinatorFinish" });

  const { checkpoint, rejected } = await run.store.loadNewest();
  t.same(rejected, []);
  t.match(checkpoint?.record, {
    step: 2,
    layoutHash: hash("1"),
    stateHash: hash("e"),
    configHash: hash("c"),
    datasetHash: hash("d"),
    seed: config.seed,
    seats: config.seats,
    optimizer: { kind: "sgd" },
    progress: progressAt(2),
  });
  t.same(
    checkpoint?.model.map(({ name, shape }) => ({ name, shape: [...shape] })),
    tensors.model,
  );
  t.same(
    checkpoint?.optimizer.map(({ name, shape }) => ({ name, shape: [...shape] })),
    tensors.optimizer,
  );
  t.ok(checkpoint && Buffer.from(bytesOf(checkpoint)).equals(state.bytes), "byte for byte");
  t.same(run.events.map(({ type }) => type).sort(), [
    "began",
    "committed",
    "committed",
    "evaluated",
    "joined",
    "joined",
    "saved",
    "seated",
  ]);
});

t.test("the newest checkpoints are kept, and the best", async (t) => {
  const run = await startRun(t, { configFor: () => ({ ...config, checkpoint: { everySteps: 1, keep: 2 } }) });
  const workers = await begin(run);
  for (const step of [1, 2, 3, 4]) {
    for (const worker of workers) worker.say(held(step), stateHash(step));
    const progress = { ...progressAt(step), best: { step: 1, accuracy: 0.5 } };
    upload(workers[0], step, state.bytes, [140], progress);
  }
  for (const worker of workers) worker.say(done(4));
  t.match(await run.end, { exitCode: 0 });
  t.same(await run.store.list(), [1, 3, 4]);
});

const at = (byteOffset: number, size: number, step = 2) => ({ byteOffset, size, step });
const badUploads = [
  { name: "whose parts come out of order", parts: [at(50, 90)], message: /part 50 of a state of which 0 of 140 bytes/ },
  { name: "with a part twice", parts: [at(0, 50), at(0, 50)], message: /part 0 of a state of which 50 of 140 bytes/ },
  { name: "with a gap", parts: [at(0, 50), at(60, 10)], message: /part 60 of a state of which 50 of 140 bytes/ },
  { name: "with more bytes than announced", parts: [at(0, 100), at(100, 41)], message: /part 100 of a state/ },
  { name: "with a part of another step", parts: [at(0, 50), at(50, 50, 3)], message: /part 50 of a state/ },
];
for (const { name, parts, message } of badUploads)
  t.test(`a state ${name} is refused, naming the rank; no checkpoint is written`, async (t) => {
    const run = await startRun(t);
    const workers = await begin(run);
    for (const worker of workers) worker.say(held(1), held(2), stateHash(2));
    workers[0].say(stateOf(2, 140));
    for (const { step, byteOffset, size } of parts) workers[0].sendPart(step, byteOffset, new Uint8Array(size));
    const end = await run.end;
    t.match(end, { exitCode: 1, code: "STATE_MALFORMED", message });
    t.match(end.message, "rank 0 (pid 1000 on h0) sent");
    t.match(workers[0].messages.at(-1), { type: "CoordinatorAbort", code: "STATE_MALFORMED" });
    t.match(workers[1].messages.at(-1), { type: "CoordinatorAbort", code: "STATE_MALFORMED" });
    t.same(await run.store.list(), []);
  });

t.test("a part behind the last byte is a state that nobody announced", async (t) => {
  const run = await startRun(t);
  const [first, second] = await begin(run);
  for (const worker of [first, second]) worker.say(held(1), held(2), stateHash(2));
  upload(first, 2, state.bytes, [140, 0]);
  t.match(await run.end, { exitCode: 1, code: "UNEXPECTED_MESSAGE" });
});

const announcements: readonly { name: string; messages: readonly WorkerMessage[]; message: RegExp }[] = [
  {
    name: "of another size than its tensors",
    messages: [stateOf(2, 136)],
    message: /a state of 136 bytes, expected 140/,
  },
  {
    name: "before the last one was whole",
    messages: [stateOf(2, 140), stateOf(2, 140)],
    message: /before that of step 2 was whole/,
  },
];
for (const { name, messages, message } of announcements)
  t.test(`a state announced ${name} is refused`, async (t) => {
    const run = await startRun(t);
    const [first] = await begin(run);
    first.say(stateHash(2), ...messages);
    t.match(await run.end, { exitCode: 1, code: "STATE_MALFORMED", message });
  });

t.test("a state that no memory holds ends the run with that, not the process", async (t) => {
  const huge = { model: [{ name: "dense/kernel", shape: [2 ** 17, 2 ** 17] }], optimizer: [] };
  const run = await startRun(t);
  const [first] = await begin(run, readyWith({ tensors: huge }));
  first.say(stateHash(2), stateOf(2, 2 ** 36));
  t.match(await run.end, {
    exitCode: 1,
    code: "CHECKPOINT_FAILED",
    message: /no memory for a state of 68719476736 bytes/,
  });
});

t.test("a model without a single parameter is saved like any other", async (t) => {
  const run = await startRun(t);
  const [first, second] = await begin(run, readyWith({ tensors: { model: [], optimizer: [] } }));
  for (const worker of [first, second]) worker.say(held(1), stateHash(1));
  first.say(stateOf(1, 0));
  for (const worker of [first, second]) worker.say(done(1));
  t.match(await run.end, { exitCode: 0 });
  t.same(await run.store.list(), [1]);
});

t.test("a run folder that cannot be written ends the run, saying where", async (t) => {
  const run = await startRun(t, { runFolder: t.testdir({ checkpoints: "a file where a folder should be" }) });
  const [first, second] = await begin(run);
  for (const worker of [first, second]) worker.say(held(1), stateHash(1));
  upload(first, 1, state.bytes, [140]);
  t.match(await run.end, {
    exitCode: 1,
    code: "CHECKPOINT_FAILED",
    message: /step 1 could not be written.*checkpoints/,
  });
});

t.test("a worker that vanishes in the middle of its state ends the run; nothing half is left", async (t) => {
  const run = await startRun(t);
  const [first, second] = await begin(run);
  for (const worker of [first, second]) worker.say(held(1), stateHash(1));
  upload(first, 1, state.bytes, [100]);
  await run.heard("committed");
  first.socket.terminate();
  t.match(await run.end, { exitCode: 1, code: "WORKER_LOST", message: "rank 0 (pid 1000 on h0) is gone (step 1)" });
  t.match(second.messages.at(-1), { type: "CoordinatorAbort", code: "WORKER_LOST" });
  t.same(await run.store.list(), []);
});

t.test("a stop is planned, saved, and ends the run with 130", async (t) => {
  const run = await startRun(t);
  const workers = await begin(run);
  run.stop.abort("Ctrl-C");
  for (const worker of workers) {
    t.match(await worker.heard("CoordinatorPlan"), { change: "stop" });
    worker.say(held(1), stateHash(1), done(1, true));
  }
  upload(workers[0], 1, state.bytes, [140]);
  t.match(await run.end, { exitCode: 130, code: "STOPPED", message: "Ctrl-C" });
  t.same(await run.store.list(), [1]);
});

t.test("a stop that was asked for before anybody came ends the run at once", async (t) => {
  const run = await startRun(t);
  const worker = await run.connect();
  worker.say(helloOf(0));
  await run.heard("joined");
  run.stop.abort("Ctrl-C");
  t.match(await run.end, { exitCode: 130, code: "STOPPED", message: /nothing to save/ });
  t.match(worker.messages.at(-1), { type: "CoordinatorAbort", code: "STOPPED" });
});

t.test("a resumed run streams its state to every worker, byte for byte, in parts of bounded size", async (t) => {
  const large = {
    model: [
      { name: "dense/kernel", shape: [700, 1001] },
      { name: "dense/bias", shape: [1001] },
    ],
    optimizer: [{ name: "momentum/dense/kernel", shape: [3] }],
  };
  const { model, optimizer, bytes } = stateWith(large);
  const runFolder = t.testdir();
  const record = {
    layoutHash: hash("1"),
    configHash: hash("c"),
    datasetHash: hash("d"),
    seed: 7,
    seats: 4,
    progress: progressAt(10),
    optimizer: { kind: "sgd" },
    stateHash: hash("e"),
  };
  await openCheckpoints(runFolder).save({ step: 10, model, optimizer, record });
  const resume = await openCheckpoints(runFolder).load(10);
  const run = await startRun(t, { runFolder, resume });
  const workers = await begin(run, readyWith({ tensors: large }));
  for (const worker of workers) {
    t.match(await worker.heard("CoordinatorStart"), {
      source: { kind: "state", step: 10, totalBytes: bytes.length, progress: progressAt(10) },
    });
    t.ok((await worker.receivedBytes(bytes.length)).equals(bytes), "byte for byte");
    let received = 0;
    for (const { step, byteOffset, payload } of worker.parts) {
      if (step !== 10 || byteOffset !== received || payload.length > maxStatePartBytes) t.fail(`part ${byteOffset}`);
      received += payload.length;
    }
    t.match(await worker.heard("CoordinatorBegin"), { firstStep: 10 });
  }
  for (const worker of workers) worker.say(done(10));
  t.match(await run.end, { exitCode: 0 });
});

t.test("a worker hears that its coordinator lives", async (t) => {
  const run = await startRun(t);
  const worker = await run.connect();
  t.match(await worker.heard("CoordinatorHeartbeat"), { type: "CoordinatorHeartbeat" });
});

t.test("a worker that does not hang up at the end cannot hold it up", async (t) => {
  const run = await startRun(t, { ranks: 1 });
  const worker = await run.connect();
  worker.leave = () => {};
  worker.say(helloOf(0));
  await worker.heard("CoordinatorStart");
  worker.say(readyWith(), stateHash(1));
  upload(worker, 1, state.bytes, [140]);
  worker.say(done(1));
  t.match(await run.end, { exitCode: 0 });
});

t.test("coordinator and worker in one process: the same run over a link in memory", async (t) => {
  const [link, far] = memoryLinkPair();
  const store = openCheckpoints(t.testdir());
  const say = (...messages: readonly WorkerMessage[]) => {
    for (const message of messages) link.send(encodeControl(message));
  };
  link.listen({
    message(bytes) {
      const message = parseCoordinatorMessage(bytes);
      if (message.type === "CoordinatorStart") say(readyWith());
      if (message.type === "CoordinatorBegin") {
        say(held(1), stateHash(1), stateOf(1, 140));
        void link.sendBulk(encodeStateHeader({ generation: 1, step: 1, byteOffset: 0 }, 140), state.bytes);
        say(done(1));
      }
      if (message.type === "CoordinatorFinish") link.close("over");
    },
    closed: (reason) => {
      t.fail(reason);
    },
  });
  say(helloOf(0, { ring: { host: "localhost", port: 0 } }));
  const end = await runCoordinator({
    ranks: 1,
    configHash: hash("c"),
    datasetHash: hash("d"),
    configFor: () => config,
    store,
    resume: null,
    workers: { kind: "memory", link: far },
    onEvent: () => {},
    stop: new AbortController().signal,
  });
  t.match(end, { exitCode: 0, code: "FINISHED" });
  const { checkpoint } = await store.loadNewest();
  t.ok(checkpoint && Buffer.from(bytesOf(checkpoint)).equals(state.bytes));
});
