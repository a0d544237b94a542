/** Checkpoints that are sent to several workers, read from a real disk. */
import { truncateSync } from "node:fs";
import { join } from "node:path";
import { openCheckpoints } from "@ringmaster/checkpoint";
import { parseBulk } from "@ringmaster/protocol";
import { type ControlLink, memoryLinkPair } from "@ringmaster/transport";
import t, { type Test } from "tap";
import { OutgoingStates } from "../src/outgoing-states.ts";
import { hash, progressAt, tensors } from "./fixtures/messages.ts";
import { stateWith } from "./fixtures/state-bytes.ts";

const { model, optimizer, bytes } = stateWith(tensors);

/** A store with steps 1 and 2, which counts what is read, and what was told to be unusable. */
async function filled(t: Test) {
  const runFolder = t.testdir();
  const store = openCheckpoints(runFolder);
  const hashes = { layoutHash: hash("1"), configHash: hash("c"), datasetHash: hash("d"), stateHash: hash("e") };
  const record = { ...hashes, seed: 7, seats: 4, optimizer: { kind: "sgd" } };
  const save = (step: number) =>
    store.save({ step, model, optimizer, record: { ...record, progress: { ...progressAt(step) } } });
  for (const step of [1, 2]) await save(step);
  const reads: number[] = [];
  const unusable: unknown[] = [];
  const states = (resume: Awaited<ReturnType<typeof store.load>> | null = null) =>
    new OutgoingStates({
      store: {
        load(step) {
          reads.push(step);
          return store.load(step);
        },
      },
      resume,
      onUnusable: (step, error) => unusable.push([step, error instanceof Error && error.message]),
    });
  return { runFolder, store, states, reads, unusable };
}

/** A worker's end of a link: what arrived at it, once this many bytes are there. */
function receiver() {
  const [near, far] = memoryLinkPair();
  const parts: Uint8Array[] = [];
  let look = () => {};
  far.listen({
    message(message) {
      const part = parseBulk(message);
      if (part.kind === "state") parts.push(Uint8Array.from(part.payload));
      look();
    },
    closed: () => {},
  });
  const received = new Promise<Buffer>((resolve) => {
    look = () => {
      const all = Buffer.concat(parts);
      if (all.length >= bytes.length) resolve(all);
    };
  });
  return { link: (): ControlLink => near, parts, received };
}

const at = (step: number) => ({ generation: 2, step });

t.test("who asks at the same time is sent the same, which is read once", async (t) => {
  const { states, reads } = await filled(t);
  const outgoing = states();
  const receivers = [receiver(), receiver(), receiver()];
  await Promise.all(receivers.map(({ link }) => outgoing.send(at(2), link)));
  for (const { received } of receivers) t.ok((await received).equals(bytes), "byte for byte");
  t.same(reads, [2]);
});

t.test("once nobody is sent it, it is let go: who comes later has it read anew", async (t) => {
  const { states, store, reads } = await filled(t);
  const outgoing = states(await store.load(2));
  const [first, second] = [receiver(), receiver()];
  await outgoing.send(at(2), first.link);
  t.same(reads, [], "what was read to resume the run is not read again");
  await outgoing.send(at(2), second.link);
  t.same(reads, [2]);
  for (const { received } of [first, second]) t.ok((await received).equals(bytes));
});

t.test("one that was written anew meanwhile is read anew", async (t) => {
  const { states, store, reads } = await filled(t);
  const outgoing = states(await store.load(2));
  outgoing.written(2);
  await outgoing.send(at(2), receiver().link);
  t.same(reads, [2]);
});

t.test("one that is damaged is told once, and nothing of it is sent", async (t) => {
  const { runFolder, states, unusable } = await filled(t);
  truncateSync(join(runFolder, "checkpoints", "step-00000002", "optimizer.safetensors"), 9);
  const outgoing = states();
  const receivers = [receiver(), receiver()];
  await Promise.all(receivers.map(({ link }) => outgoing.send(at(2), link)));
  t.match(unusable, [[2, /optimizer\.safetensors is damaged: expected \d+ bytes, found 9/]]);
  t.equal(unusable.length, 1);
  const another = receiver();
  await outgoing.send(at(1), another.link);
  t.ok((await another.received).equals(bytes), "another is sent as ever");
  t.same(
    receivers.map(({ parts }) => parts),
    [[], []],
  );
});

t.test("a worker that is gone once it is read is sent nothing, and is told to nobody", async (t) => {
  const { states, unusable } = await filled(t);
  await states().send(at(2), () => undefined);
  t.same(unusable, []);
});
