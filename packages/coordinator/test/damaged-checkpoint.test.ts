/** A checkpoint that is found damaged when a run that is under way has to load it: the one before it takes its place, on a real disk. */
import { mkdirSync, rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { openJournal } from "../src/index.ts";
import type { FakeWorker } from "./fixtures/fake-worker.ts";
import { done, hash, held, helloOf, readyWith, stateHash, stateIdOf, tensors } from "./fixtures/messages.ts";
import { proceed, type Running, startRun, upload } from "./fixtures/running.ts";
import { stateWith } from "./fixtures/state-bytes.ts";

const state = stateWith(tensors);
const checkpointOf = (runFolder: string, step: number) =>
  join(runFolder, "checkpoints", `step-${String(step).padStart(8, "0")}`);

/** One rank has stepped up to `last`, every step is a checkpoint, and then it is dead. */
async function deserted(t: Test, last: number): Promise<Running> {
  const run = await startRun(t, { ranks: 1 });
  const first = await anotherJoins(run, 0);
  await proceed(first);
  for (let step = 1; step <= last; step++) {
    first.say(held(step), stateHash(step));
    upload(first, step, state.bytes, [140]);
    await first.heard("CoordinatorSaved", ({ step: saved }) => saved === step);
  }
  first.say({ type: "WorkerBye", reason: "it is asked to end" });
  first.leave();
  await run.heard("lost");
  return run;
}

async function anotherJoins(run: Running, index: number): Promise<FakeWorker> {
  const worker = await run.connect();
  worker.say(helloOf(index));
  await worker.heard("CoordinatorStart");
  worker.say(readyWith());
  return worker;
}

/** It holds nothing in the generation that is open, which is this one. */
async function answerEmpty(worker: FakeWorker, generation: number): Promise<void> {
  await worker.heard("CoordinatorRegroup", (message) => message.generation === generation);
  worker.say({ type: "WorkerRegrouped", generation, step: -1, stateId: stateIdOf(0) });
}

t.test("where it is damaged, the one before it is sent, and its step is written again", async (t) => {
  const run = await deserted(t, 3);
  truncateSync(join(checkpointOf(run.runFolder, 3), "model.safetensors"), 7);
  const worker = await anotherJoins(run, 1);
  await answerEmpty(worker, 2);
  t.match(await worker.heard("CoordinatorLoad"), { generation: 2, step: 3 });
  t.match(await worker.heard("CoordinatorSaved"), { step: 2 });
  await answerEmpty(worker, 3);
  const load = await worker.heard("CoordinatorLoad", ({ generation }) => generation === 3);
  t.match(load, { step: 2, source: { kind: "checkpoint", totalBytes: 140, progress: { step: 2 } } });
  t.ok((await worker.receivedBytes(140)).equals(state.bytes), "byte for byte");
  t.same([...new Set(worker.parts.map(({ step }) => step))], [2], "and nothing of what is damaged");
  const why = /^the checkpoint of step 3 is not usable: .*model\.safetensors is damaged: expected \d+ bytes, found 7/;
  const { line } = await run.heard("note");
  t.match(line, why);
  t.match(line, /; going back to the checkpoint of step 2, unless a rank holds a newer state$/);

  const { stateId } = load;
  worker.say({ type: "WorkerRegrouped", generation: 3, step: 2, stateId });
  await worker.heard("CoordinatorProceed");
  t.match(await run.heard("restored"), { step: 2, because: why });
  worker.say(held(3, { generation: 3 }), stateHash(3, "e", 3), done(3, false, 3));
  upload(worker, 3, state.bytes, [140], { generation: 3 });
  t.match(await run.end, { exitCode: 0, code: "FINISHED" });
  const { checkpoint, rejected } = await run.store.loadNewest();
  t.match({ step: checkpoint?.step, rejected }, { step: 3, rejected: [] });
  t.same(
    run.events.flatMap((event) => (event.type === "committed" ? [event.step] : [])),
    [1, 2, 3, 3],
  );
});

t.test("where none before it is good, the run goes back to the seed", async (t) => {
  const run = await deserted(t, 2);
  rmSync(checkpointOf(run.runFolder, 2), { recursive: true });
  rmSync(join(checkpointOf(run.runFolder, 1), "run.json"));
  const worker = await anotherJoins(run, 1);
  await answerEmpty(worker, 2);
  await answerEmpty(worker, 3);
  const load = await worker.heard("CoordinatorLoad", ({ generation }) => generation === 3);
  t.match(load, { step: 0, source: { kind: "seed" } });
  t.match(await run.heard("note"), { line: /^the checkpoint of step 2 .*; going back to the beginning, unless/ });
  worker.say({ type: "WorkerRegrouped", generation: 3, step: 0, stateId: load.stateId });
  t.match(await run.heard("restored"), { step: 0 });
  worker.say(held(1, { generation: 3 }), stateHash(1, "e", 3), done(1, false, 3));
  upload(worker, 1, state.bytes, [140], { generation: 3 });
  t.match(await run.end, { exitCode: 0 });
  t.same((await run.store.loadNewest()).checkpoint?.step, 1);
});

t.test("the journal has what takes its place before anybody is told of it", async (t) => {
  for (const [last, expected] of [
    [2, { step: 1, stateId: hash("e").slice(0, 16), stateHash: hash("e") }],
    [1, null],
  ] as const) {
    const run = await deserted(t, last);
    truncateSync(join(checkpointOf(run.runFolder, last), "model.safetensors"));
    const worker = await anotherJoins(run, 1);
    await answerEmpty(worker, 2);
    await worker.heard("CoordinatorRegroup", ({ generation }) => generation === 3);
    // As if this coordinator had been stopped for so long that the other took it for dead.
    rmSync(join(run.runFolder, "state", "lease"));
    const other = await openJournal(run.runFolder, { kind: "recover" });
    t.same(other.found.checkpoint, expected);
    await answerEmpty(worker, 3);
    const { step, stateId } = await worker.heard("CoordinatorLoad", ({ generation }) => generation === 3);
    worker.say({ type: "WorkerRegrouped", generation: 3, step, stateId });
    t.match(await run.end, { code: "REPLACED" });
    await other.close({ remove: false });
  }
});

t.test("a coordinator that was replaced takes no other checkpoint", async (t) => {
  const run = await deserted(t, 2);
  truncateSync(join(checkpointOf(run.runFolder, 2), "model.safetensors"));
  const worker = await anotherJoins(run, 1);
  await worker.heard("CoordinatorRegroup");
  rmSync(join(run.runFolder, "state", "lease"));
  const other = await openJournal(run.runFolder, { kind: "recover" });
  t.teardown(() => other.close({ remove: false }));
  await answerEmpty(worker, 2);
  t.match(await run.end, { code: "REPLACED" });
  t.match(other.found.checkpoint, { step: 2 });
});

t.test("one that cannot be read, though it may be whole, ends the run: it can be resumed", async (t) => {
  const run = await deserted(t, 2);
  // Even root cannot read a folder as a file.
  rmSync(join(checkpointOf(run.runFolder, 2), "run.json"));
  mkdirSync(join(checkpointOf(run.runFolder, 2), "run.json"));
  const worker = await anotherJoins(run, 1);
  await answerEmpty(worker, 2);
  t.match(await run.end, { exitCode: 1, code: "UNREADABLE", message: /the checkpoint of step 2 is not usable/ });
});
