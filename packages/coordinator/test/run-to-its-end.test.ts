/** Real sockets, a real journal, real checkpoints: what the shell does with what the core says. */
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
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
import { z } from "zod";
import { openJournal, runCoordinator } from "../src/index.ts";
import {
  config,
  done,
  evaluated,
  hash,
  held,
  heldWithPlan,
  helloOf,
  idOf,
  progressAt,
  readyWith,
  standingAt,
  stateHash,
  stateIdOf,
  stateOf,
  tensors,
} from "./fixtures/messages.ts";
import { begin, proceed, startRun, upload } from "./fixtures/running.ts";
import { bytesOf, stateWith } from "./fixtures/state-bytes.ts";

const state = stateWith(tensors);

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
    "proceeding",
    "regrouping",
    "saved",
    "settled",
  ]);
  t.notOk(existsSync(join(run.runFolder, "state")), "nobody recovers a run that has ended in order");
});

t.test("the newest checkpoints are kept, and the best", async (t) => {
  const run = await startRun(t, {
    configFor: () => ({ ...config, checkpoint: { everySteps: 1, everyMinutes: null, keep: 2 } }),
  });
  const workers = await begin(run);
  for (const step of [1, 2, 3, 4]) {
    for (const worker of workers) worker.say(held(step), stateHash(step));
    const progress = { ...progressAt(step), best: { step: 1, accuracy: 0.5 } };
    upload(workers[0], step, state.bytes, [140], { progress });
    // Of two that wait the newer is written.
    await workers[1].heard("CoordinatorSaved", ({ step: saved }) => saved === step);
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
  t.test(`a state ${name} is refused, and its rank sent away; the others go on without it`, async (t) => {
    const run = await startRun(t);
    const workers = await begin(run);
    for (const worker of workers) worker.say(held(1), held(2), stateHash(2));
    workers[0].say(stateOf(2));
    for (const { step, byteOffset, size } of parts) workers[0].sendPart(step, byteOffset, new Uint8Array(size));
    t.match(await workers[0].heard("CoordinatorAbort"), { code: "STATE_MALFORMED", message });
    t.match(await run.heard("lost"), { workerId: idOf(0), peer: "rank 0 (pid 1000 on h0)" });
    t.match(await workers[1].heard("CoordinatorRegroup", ({ generation }) => generation === 2), { members: [idOf(1)] });
    t.same(await run.store.list(), []);
  });

t.test("a part behind the last byte is a state that nobody announced", async (t) => {
  const run = await startRun(t);
  const [first, second] = await begin(run);
  for (const worker of [first, second]) worker.say(held(1), held(2), stateHash(2));
  upload(first, 2, state.bytes, [140, 0]);
  t.match(await first.heard("CoordinatorAbort"), { code: "UNEXPECTED_MESSAGE" });
});

const announcements: readonly { name: string; messages: readonly WorkerMessage[]; message: RegExp }[] = [
  {
    name: "of another size than its tensors",
    messages: [stateOf(2, { totalBytes: 136 })],
    message: /a state of 136 bytes, expected 140/,
  },
  {
    name: "before the last one was whole",
    messages: [stateOf(2), stateOf(2)],
    message: /after 0 of 140 bytes of the one before/,
  },
];
for (const { name, messages, message } of announcements)
  t.test(`a state announced ${name} is refused`, async (t) => {
    const run = await startRun(t);
    const [first] = await begin(run);
    first.say(stateHash(2), ...messages);
    t.match(await first.heard("CoordinatorAbort"), { code: "STATE_MALFORMED", message });
  });

t.test("a state that no memory holds ends the run with that, not the process", async (t) => {
  const huge = { model: [{ name: "dense/kernel", shape: [2 ** 17, 2 ** 17] }], optimizer: [] };
  const run = await startRun(t);
  const [first] = await begin(run, readyWith({ tensors: huge }));
  first.say(stateHash(2), stateOf(2, { totalBytes: 2 ** 36 }));
  t.match(await run.end, { exitCode: 1, code: "NO_MEMORY", message: /no memory for a state of 68719476736 bytes/ });
});

t.test("a model without a single parameter is saved like any other", async (t) => {
  const run = await startRun(t);
  const [first, second] = await begin(run, readyWith({ tensors: { model: [], optimizer: [] } }));
  for (const worker of [first, second]) worker.say(held(1), stateHash(1));
  first.say(stateOf(1, { totalBytes: 0 }));
  for (const worker of [first, second]) worker.say(done(1));
  t.match(await run.end, { exitCode: 0 });
  t.same(await run.store.list(), [1]);
});

t.test("a folder that cannot be written is said so; the run ends without its checkpoint when asked", async (t) => {
  const run = await startRun(t, { runFolder: t.testdir({ checkpoints: "a file where a folder should be" }) });
  const workers = await begin(run);
  for (const worker of workers) worker.say(held(1), stateHash(1), done(1));
  upload(workers[0], 1, state.bytes, [140]);
  t.match(await run.heard("note"), { line: /step 1 could not be written.*checkpoints/ });
  run.stop.abort("Ctrl-C");
  t.match(await run.end, { exitCode: 1, code: "CHECKPOINT_FAILED", message: /step 1 could not be written/ });
});

t.test("a worker that vanishes in the middle of its state is left out; another writes the same step", async (t) => {
  const run = await startRun(t);
  const [first, second] = await begin(run);
  for (const worker of [first, second]) worker.say(held(1), stateHash(1));
  upload(first, 1, state.bytes, [100]);
  await run.heard("committed");
  first.socket.terminate();
  t.match(await run.heard("lost"), { workerId: idOf(0), because: /did not come back/ });
  const { generation } = await second.heard("CoordinatorRegroup", (message) => message.generation === 2);
  second.say({ type: "WorkerRegrouped", generation, step: 1, stateId: stateIdOf(1) });
  t.match(await second.heard("CoordinatorProceed", (message) => message.generation === 2), { step: 1 });
  t.same(await run.store.list(), [], "nothing half is left");
  second.say(stateHash(1, "e", 2), done(1, false, 2));
  upload(second, 1, state.bytes, [140]);
  t.match(await run.end, { exitCode: 0, code: "FINISHED" });
  t.same(await run.store.list(), [1]);
});

t.test("a stop is planned, saved, and ends the run with 130", async (t) => {
  const run = await startRun(t);
  const workers = await begin(run);
  run.stop.abort("Ctrl-C");
  for (const worker of workers) {
    t.match(await worker.heard("CoordinatorPlan"), { change: "stop" });
    worker.say(heldWithPlan(1), stateHash(1), done(1, true));
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
    t.match(await worker.heard("CoordinatorLoad"), {
      step: 10,
      source: { kind: "checkpoint", totalBytes: bytes.length, progress: progressAt(10) },
    });
    t.ok((await worker.receivedBytes(bytes.length)).equals(bytes), "byte for byte");
    let received = 0;
    for (const { step, byteOffset, payload } of worker.parts) {
      if (step !== 10 || byteOffset !== received || payload.length > maxStatePartBytes) t.fail(`part ${byteOffset}`);
      received += payload.length;
    }
    t.match(await worker.heard("CoordinatorProceed"), { step: 10 });
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
  worker.say(readyWith());
  await proceed(worker);
  worker.say(held(1), stateHash(1));
  upload(worker, 1, state.bytes, [140]);
  worker.say(done(1));
  t.match(await run.end, { exitCode: 0 });
});

t.test("coordinator and worker in one process: the same run over a link in memory", async (t) => {
  const [link, far] = memoryLinkPair();
  const runFolder = t.testdir();
  const store = openCheckpoints(runFolder);
  const say = (...messages: readonly WorkerMessage[]) => {
    for (const message of messages) link.send(encodeControl(message));
  };
  link.listen({
    message(bytes) {
      const message = parseCoordinatorMessage(bytes);
      if (message.type === "CoordinatorStart") say(readyWith());
      const answer = { type: "WorkerRegrouped" as const, generation: 1, stateId: stateIdOf(0) };
      if (message.type === "CoordinatorRegroup") say({ ...answer, step: -1 });
      if (message.type === "CoordinatorLoad") say({ ...answer, step: 0 });
      if (message.type === "CoordinatorProceed") {
        say(held(1), stateHash(1), stateOf(1));
        void link.sendBulk(encodeStateHeader({ generation: 1, step: 1, byteOffset: 0 }, 140), state.bytes);
        say(done(1));
      }
      if (message.type === "CoordinatorFinish") link.close("over");
    },
    closed: (reason) => {
      t.fail(reason);
    },
  });
  const end = await runCoordinator({
    ranks: 1,
    configHash: hash("c"),
    datasetHash: hash("d"),
    configFor: () => config,
    journal: await openJournal(runFolder, { kind: "fresh" }),
    store,
    resume: null,
    recover: null,
    keptThrough: () => 0,
    keepNow: async () => {},
    workers: {
      kind: "memory",
      link: far,
      onListening: () => say(helloOf(0, { ring: { host: "localhost", port: 0 } })),
    },
    hurry: new AbortController().signal,
    onEvent: () => {},
    stop: new AbortController().signal,
  });
  t.match(end, { exitCode: 0, code: "FINISHED" });
  const { checkpoint } = await store.loadNewest();
  t.ok(checkpoint && Buffer.from(bytesOf(checkpoint)).equals(state.bytes));
});

t.test("workers hear up to which step is on disk what was shown", async (t) => {
  let keptThrough = -1;
  const run = await startRun(t, { keptThrough: () => keptThrough });
  const [first, second] = await begin(run);
  for (const worker of [first, second]) worker.say(held(1), held(2));
  await run.heard("committed");
  keptThrough = 1;
  t.match(await second.heard("CoordinatorKept"), { step: 1 });
});

/** What a coordinator that was killed leaves: its journal, and no word to its workers. */
async function journalOfTwo(runFolder: string): Promise<void> {
  const journal = await openJournal(runFolder, { kind: "fresh" });
  const members = [idOf(0), idOf(1)];
  const seated = { members, seating: [0, 0, 1, 1], step: 4, stateId: stateIdOf(4) };
  await journal.write({ record: { kind: "proceeding", generation: 3, ...seated }, usedGeneration: 3 });
  await journal.close({ remove: false });
}

t.test("a restarted coordinator takes its workers back, and the run ends as if nothing had been", async (t) => {
  const runFolder = t.testdir();
  await journalOfTwo(runFolder);
  const run = await startRun(t, { runFolder, recover: { committed: 5, evaluated: [] } });
  const workers = [await run.connect(), await run.connect()] as const;
  for (const [index, worker] of workers.entries()) {
    const standing = standingAt("stepping", { generation: 3, step: 6, stateId: stateIdOf(6) });
    worker.say(helloOf(index, { standing }), readyWith());
    for (const step of [5, 6, 7]) worker.say(held(step, { generation: 3 }));
    worker.say(stateHash(7, "e", 3), done(7, false, 3));
  }
  workers[0].say({ ...evaluated(7), generation: 3 }, stateOf(7, { generation: 3 }));
  workers[0].sendPart(7, 0, state.bytes);
  t.match(await run.end, { exitCode: 0, code: "FINISHED" });
  t.match(workers[1].messages[0], { type: "CoordinatorWelcome", epoch: 2 });
  t.same(
    run.events.flatMap((event) => (event.type === "committed" ? [event.step] : [])),
    [6, 7],
  );
  t.notOk(
    workers.some(({ messages }) => messages.some(({ type }) => type === "CoordinatorRegroup")),
    "nobody was stopped",
  );
  t.same(await run.store.list(), [7]);
});

t.test("a coordinator whose run another has taken over ends, and leaves the journal to it", async (t) => {
  const run = await startRun(t);
  const [first, second] = await begin(run);
  // As if this one had been stopped for so long that the other took it for dead.
  rmSync(join(run.runFolder, "state", "lease"));
  const other = await openJournal(run.runFolder, { kind: "recover" });
  t.teardown(() => other.close({ remove: false }));
  second.say({ type: "WorkerBye", reason: "so that there is something to record" });
  second.leave();
  t.match(await run.end, { exitCode: 1, code: "REPLACED", message: /another has taken over/ });
  t.notOk(
    first.messages.some(({ type }) => type === "CoordinatorAbort"),
    "its workers are the other's now",
  );
  t.match(other.found.record, { kind: "proceeding", generation: 1 });
  await other.write({ usedGeneration: 9 });
});

t.test("a coordinator that has nothing to write finds out from the lease that it is replaced", async (t) => {
  const run = await startRun(t);
  await begin(run);
  const lease = join(run.runFolder, "state", "lease");
  const owner = z.looseObject({ epoch: z.int() }).parse(JSON.parse(readFileSync(lease, "utf8")));
  // In place, as the newer owner does.
  const file = openSync(lease, "r+");
  writeSync(file, JSON.stringify({ ...owner, epoch: owner.epoch + 1 }).padEnd(512), 0);
  closeSync(file);
  t.match(await run.end, { exitCode: 1, code: "REPLACED" });
});

t.test("a journal that cannot be written is said so and tried again; nobody is told anything meanwhile", async (t) => {
  const run = await startRun(t);
  const [first, second] = await begin(run);
  const state = join(run.runFolder, "state");
  renameSync(state, `${state}.away`);
  second.say({ type: "WorkerBye", reason: "so that there is something to record" });
  second.leave();
  t.match(await run.heard("note"), { line: /cannot write the coordinator's journal .*trying again each second/ });
  t.notOk(first.messages.some((message) => message.type === "CoordinatorRegroup" && message.generation === 2));
  renameSync(`${state}.away`, state);
  t.match(await first.heard("CoordinatorRegroup", ({ generation }) => generation === 2), { members: [idOf(0)] });
});
