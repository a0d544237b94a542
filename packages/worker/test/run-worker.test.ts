/** Ranks with real compute threads, sockets and rings, whose world changes under them. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { seedStateId } from "@ringmaster/protocol";
import { dialCoordinator } from "@ringmaster/transport";
import t, { type Test } from "tap";
import { runWorker, type WorkerEnd } from "../src/run-worker.ts";
import { definitionText, optionsOf, config as small } from "./fixtures/compute.ts";
import { hash } from "./fixtures/messages.ts";
import { type Known, type ScriptedCoordinator, scriptedCoordinator, token } from "./fixtures/scripted-coordinator.ts";

// Each compute thread compiles its sources anew.
t.setTimeout(180_000);
const configPath = join(t.testdir({ "small.config.ts": definitionText }), "small.config.ts");
/** Epochs of three steps; every step's state is compared. */
const totalSteps = 30;
const config = { ...small, epochs: totalSteps / 3, hashEverySteps: 1 };
/** At an epoch's end. */
const savedStep = 27;
const theSeed = { step: 0, stateId: seedStateId };
const { computeOn, dataset } = await optionsOf(configPath, 1);

interface Running {
  readonly end: Promise<WorkerEnd>;
  readonly events: string[];
  leave(): void;
  kill(): void;
}

function start(t: Test, { url }: ScriptedCoordinator): Running {
  const leave = new AbortController();
  const orphaned = new AbortController();
  const events: string[] = [];
  const end = runWorker({
    connect: (signal) => dialCoordinator({ url, token, signal }),
    configPath,
    configHash: hash("a"),
    dataset,
    threads: 1,
    device: { kind: "cpu", name: "a CPU" },
    computeOn,
    fingerprint: { backend: "tensorflow", backendVersion: "2", node: "20", cpu: "a CPU" },
    token,
    ringHost: "127.0.0.1",
    log: {
      info: (fields) => events.push("event" in fields ? String(fields.event) : ""),
      error: (_, message) => events.push(message),
    },
    signal: leave.signal,
    orphaned: orphaned.signal,
    onJoined: () => events.push("joined"),
  });
  t.teardown(() => {
    orphaned.abort("the test is over");
    return end;
  });
  return { end, events, leave: () => leave.abort("SIGTERM"), kill: () => orphaned.abort("killed") };
}

const hashesOf = ({ said }: Known) =>
  new Map(
    said.flatMap((message) => (message.type === "WorkerStateHash" ? [[message.step, message.hash] as const] : [])),
  );
const hasHeld = (worker: Known, step: number) =>
  worker.said.some((message) => message.type === "WorkerHeld" && message.step >= step) || undefined;
const isDone = ({ lastOf }: ScriptedCoordinator, worker: Known, generation: number) =>
  lastOf(worker, "WorkerDone")?.generation === generation ? true : undefined;

async function begin(coordinator: ScriptedCoordinator, members: readonly Known[]): Promise<void> {
  await coordinator.open(1, members);
  await Promise.all(members.map((worker) => coordinator.load(1, worker, theSeed, { kind: "seed" })));
  coordinator.proceed(1, theSeed, members);
}

function finish(coordinator: ScriptedCoordinator, members: readonly Known[]): void {
  for (const worker of members) coordinator.tell(worker, { type: "CoordinatorFinish", reason: "the run is over" });
}

const alone = await scriptedCoordinator(config);
const undisturbed = start(t as Test, alone);
const [lone] = await alone.prepared(1);
assert.ok(lone);
await begin(alone, [lone]);
await alone.until(() => isDone(alone, lone, 1));
await alone.until(() => lone.states.get(savedStep));
const expected = hashesOf(lone);
const checkpoint = lone.states.get(savedStep);
finish(alone, [lone]);
t.match(await undisturbed.end, { exitCode: 0, code: "FINISHED" });
await alone.close();

const sharesHashes = (t: Test, worker: Known) => {
  for (const [step, found] of hashesOf(worker)) t.equal(found, expected.get(step), `the state after step ${step}`);
};

t.test("a world of one hashes every step", async (t) => {
  t.same(
    [...expected.keys()],
    Array.from({ length: totalSteps }, (_, step) => step + 1),
  );
});

t.test(
  "a rank dies, its seats are taken over, another joins, and the bits are those of the run that was left alone",
  async (t) => {
    const coordinator = await scriptedCoordinator(config);
    t.teardown(() => coordinator.close());
    const first = start(t, coordinator);
    await coordinator.prepared(1);
    const second = start(t, coordinator);
    const [a, b] = await coordinator.prepared(2);
    assert.ok(a && b);
    await begin(coordinator, [a, b]);
    await coordinator.until(() => hasHeld(a, 2));
    second.kill();
    t.match(await second.end, { exitCode: 143 });
    const lost = await coordinator.until(() => coordinator.lastOf(a, "WorkerLinkLost"));
    t.match(lost, { generation: 1, peer: b.hello.workerId });
    const [held = theSeed] = await coordinator.open(2, [a]);
    t.ok(held.step >= 2 && held.step < totalSteps);
    const third = start(t, coordinator);
    const c = (await coordinator.prepared(3))[2];
    assert.ok(c);
    t.same(await coordinator.open(3, [c, a]), [
      { ...held, step: -1, stateId: seedStateId, generation: 3, type: "WorkerRegrouped" },
      { ...held, generation: 3 },
    ]);
    await coordinator.fetch(3, c, held, [{ worker: a, position: 1 }]);
    coordinator.proceed(3, held, [c, a]);
    await Promise.all([a, c].map((worker) => coordinator.until(() => isDone(coordinator, worker, 3))));
    for (const worker of [a, b, c]) sharesHashes(t, worker);
    t.equal(hashesOf(c).get(totalSteps), expected.get(totalSteps));
    t.same(third.events.slice(0, 4), ["joined", "stopped", "copied", "seated"]);
    finish(coordinator, [a, c]);
    t.match(await Promise.all([first.end, third.end]), [{ exitCode: 0 }, { exitCode: 0 }]);
  },
);

t.test("a lost connection stops nothing, and all is told again; a leaver goes when it has no seat", async (t) => {
  const coordinator = await scriptedCoordinator({ ...config, epochs: 100_000 });
  t.teardown(() => coordinator.close());
  const first = start(t, coordinator);
  await coordinator.prepared(1);
  const second = start(t, coordinator);
  const [a, b] = await coordinator.prepared(2);
  assert.ok(a && b);
  await begin(coordinator, [a, b]);
  await coordinator.until(() => hasHeld(a, 1));
  const { link } = a;
  link.close("a coordinator that is started again");
  await coordinator.until(() => (a.link === link ? undefined : true));
  const { standing } = a.hello;
  t.match(standing, { phase: "stepping", generation: 1, linksUp: true });
  await coordinator.until(() => hasHeld(a, standing.step + 2));
  first.leave();
  await coordinator.until(() => coordinator.lastOf(a, "WorkerLeaving"));
  const held = await coordinator.open(2, [a, b]);
  const newest = held.reduce((one, other) => (other.step > one.step ? other : one));
  for (const [index, worker] of [a, b].entries())
    if (held[index]?.step !== newest.step)
      await coordinator.fetch(2, worker, newest, [{ worker: index === 0 ? b : a, position: 1 - index }]);
  coordinator.proceed(2, newest, [b], [a, b]);
  t.match(await first.end, { exitCode: 143, code: "TERMINATED" });
  await coordinator.until(() => hasHeld(b, newest.step + 1));
  coordinator.tell(b, { type: "CoordinatorAbort", code: "STOPPED", message: "enough" });
  t.match(await second.end, { exitCode: 130 });
});

t.test("a checkpoint is loaded and gone on from, with the same bits", async (t) => {
  const coordinator = await scriptedCoordinator(config);
  t.teardown(() => coordinator.close());
  const running = start(t, coordinator);
  const [a] = await coordinator.prepared(1);
  const about = lone.said.find((message) => message.type === "WorkerState" && message.step === savedStep);
  assert.ok(a && about?.type === "WorkerState" && checkpoint);
  const { step, stateId, progress, totalBytes } = about;
  await coordinator.open(1, [a]);
  await coordinator.load(1, a, { step, stateId }, { kind: "checkpoint", totalBytes, progress }, checkpoint);
  coordinator.proceed(1, { step, stateId }, [a]);
  await coordinator.until(() => isDone(coordinator, a, 1));
  sharesHashes(t, a);
  t.equal(hashesOf(a).get(totalSteps), expected.get(totalSteps));
  // A state of another model.
  coordinator.tell(a, {
    type: "CoordinatorLoad",
    generation: 2,
    step,
    stateId,
    source: { kind: "checkpoint", totalBytes: totalBytes + 4, progress },
    leftOut: [],
  });
  t.match(await running.end, { exitCode: 1, code: "STATE_MALFORMED" });
  t.match(coordinator.lastOf(a, "WorkerFailed"), { concerns: "run" });
});

t.test("a worker that a record is without comes back as a spare, over the same threads", async (t) => {
  const coordinator = await scriptedCoordinator(config);
  t.teardown(() => coordinator.close());
  const running = start(t, coordinator);
  const [a] = await coordinator.prepared(1);
  assert.ok(a);
  await begin(coordinator, [a]);
  await coordinator.until(() => hasHeld(a, 1));
  coordinator.tell(a, { type: "CoordinatorRegroup", generation: 2, members: ["00000000-0000-4000-8000-000000000009"] });
  const again = (await coordinator.prepared(2))[1];
  assert.ok(again);
  t.match(again.hello.standing, { phase: "spare", generation: 2, step: -1 });
  await coordinator.open(3, [again]);
  await coordinator.load(3, again, theSeed, { kind: "seed" });
  coordinator.proceed(3, theSeed, [again]);
  await coordinator.until(() => isDone(coordinator, again, 3));
  sharesHashes(t, again);
  t.equal(hashesOf(again).size, totalSteps);
  finish(coordinator, [again]);
  t.match(await running.end, { exitCode: 0 });
});
