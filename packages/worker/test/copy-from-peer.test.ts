import { listenForRing } from "@ringmaster/collective";
import { encodeControl, type PeerState, type WorkerHeld, type WorkerMessage } from "@ringmaster/protocol";
import type { StateTensors } from "@ringmaster/training";
import t, { type Test } from "tap";
import { type CopyOptions, copyFromPeer } from "../src/copy-from-peer.ts";
import { copyState, stateBytes, stateParts } from "../src/state-transfer.ts";
import { idAfter, progressAt, stepHeld } from "./fixtures/messages.ts";

const secret = "a-token-of-a-run";
const run = "ring";
const wanted = { generation: 3, step: 2, stateId: idAfter(2) };
const peerState: PeerState = {
  type: "PeerState",
  ...wanted,
  progress: progressAt(2),
  effect: { planId: 1, change: "checkpoint", after: 2 },
};

function heldAfter(step: number): WorkerHeld {
  const { tail, timing, memoryBytes } = stepHeld();
  const said = { tail: { ...tail, receipt: [...tail.receipt] }, timing, memoryBytes };
  return { type: "WorkerHeld", generation: 3, step, stateId: idAfter(step), ...said };
}
const history = [heldAfter(1), heldAfter(2)];

function tensorsOf(value: number, floats = 5000): StateTensors {
  const data = new Float32Array(new SharedArrayBuffer(4 * floats)).fill(value);
  return { model: [{ name: "weights", shape: [floats], data }], optimizer: [] };
}

/** A member at this position that offers a state of nines. */
async function holder(
  t: Test,
  position: number,
  changes: Partial<PeerState> = {},
  tensors = tensorsOf(9),
  said: readonly WorkerMessage[] = history,
) {
  const listener = await listenForRing({ host: "127.0.0.1", port: 0, secret, run });
  t.teardown(() => listener.close());
  const about = [{ ...peerState, ...changes }, ...said].map(encodeControl);
  listener.offerState({ generation: wanted.generation, step: wanted.step, about, parts: stateParts(tensors) });
  return { position, host: "127.0.0.1", port: listener.port };
}

const options = (from: CopyOptions["from"], tensors: StateTensors, position = 5): CopyOptions => ({
  ...wanted,
  from,
  position,
  secret,
  run,
  tensors,
  signal: new AbortController().signal,
});
const bytesOf = (tensors: StateTensors) => {
  const bytes = new Uint8Array(stateBytes(tensors));
  copyState(tensors, bytes);
  return Buffer.from(bytes);
};

t.test("a state is copied with what its holder says of it", async (t) => {
  const tensors = tensorsOf(0);
  const outcome = await copyFromPeer(options([await holder(t, 0)], tensors));
  t.same(outcome, { kind: "copied", peer: peerState, history });
  t.ok(bytesOf(tensors).equals(bytesOf(tensorsOf(9))));
});

t.test("each copying rank begins with another holder", async (t) => {
  const from = [await holder(t, 0), await holder(t, 1, {}, tensorsOf(8))];
  for (const [position, value] of [
    [2, 9],
    [3, 8],
  ] as const) {
    const tensors = tensorsOf(0);
    t.match(await copyFromPeer(options(from, tensors, position)), { kind: "copied" });
    t.equal(tensors.model[0]?.data[0], value);
  }
});

const wrong = [
  { name: "another history", changes: { stateId: "00000000000000aa" } },
  { name: "another step", changes: { step: 3 } },
  { name: "another generation", changes: { generation: 4 } },
  { name: "the progress of another step", changes: { progress: progressAt(1) } },
];
for (const { name, changes } of wrong)
  t.test(`a holder that says ${name} is passed over; the next is asked`, async (t) => {
    const tensors = tensorsOf(0);
    const from = [await holder(t, 0, changes), await holder(t, 1)];
    t.match(await copyFromPeer(options(from, tensors, 2)), { kind: "copied" });
  });

const wrongHistories = [
  { name: "of a later step", said: [heldAfter(3)] },
  { name: "that is no history", said: [{ type: "WorkerBye", reason: "" } as const] },
];
for (const { name, said } of wrongHistories)
  t.test(`a holder that says something ${name} is passed over; the next is asked`, async (t) => {
    const from = [await holder(t, 0, {}, tensorsOf(9), said), await holder(t, 1)];
    t.match(await copyFromPeer(options(from, tensorsOf(0), 2)), { kind: "copied", history });
  });

t.test("where no holder gives it, memory is as it was, and it is said who was asked last and why", async (t) => {
  const tensors = tensorsOf(0);
  const shorter = await holder(t, 1, {}, tensorsOf(9, 10));
  const outcome = await copyFromPeer(options([await holder(t, 0, { step: 3 }), shorter], tensors, 2));
  t.match(outcome, { kind: "failed", peer: 1, message: /step 3.*; the state from member 1: .*40 of 20000 bytes/ });
  t.ok(bytesOf(tensors).equals(bytesOf(tensorsOf(0))));
});

t.test("a copy that is given up writes nothing", async (t) => {
  const tensors = tensorsOf(0);
  const giveUp = new AbortController();
  const copying = copyFromPeer({ ...options([await holder(t, 0)], tensors), signal: giveUp.signal });
  giveUp.abort(new Error("another generation"));
  await t.rejects(copying, /another generation/);
  t.equal(tensors.model[0]?.data[0], 0);
});
