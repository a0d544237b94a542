/** The bounds of what regrouping brought into messages, each from both sides: the last value that is taken, and the first that is not. */
import { pack } from "msgpackr";
import t from "tap";
import { hello, peerState } from "./fixtures/examples.ts";
import { type Claimed, parserOf } from "./fixtures/parsers.ts";
import { refusal } from "./fixtures/refusal.ts";

interface Bound {
  taken: readonly unknown[];
  refused: readonly unknown[];
}
const whole = (least: number, most: number): Bound => ({
  taken: [least, most],
  refused: [least - 1, most + 1, least + 0.5, String(least), null, true],
});
const uint32 = whole(0, 2 ** 32 - 1);
const stepOrNone = whole(-1, 2 ** 32 - 1);
const atLeastZero: Bound = {
  taken: [0, 0.5, Number.MAX_VALUE],
  refused: [-1, Number.NaN, Number.POSITIVE_INFINITY, "0", null],
};
const digits = "0123456789abcdef";
const stateId: Bound = {
  taken: [digits, "0".repeat(16)],
  refused: [digits.slice(1), `${digits}0`, `${digits}\n`, digits.toUpperCase(), "g".repeat(16), "", 0, null],
};
const chars = (most: number): Bound => ({ taken: ["", "x".repeat(most)], refused: ["x".repeat(most + 1), 0, null] });
const flag: Bound = { taken: [true, false], refused: [0, "true", null] };
const items = (item: unknown, least: number, most: number): Bound => {
  const some = (length: number) => Array.from({ length }, () => item);
  return {
    taken: [some(least), some(most)],
    refused: [some(least - 1), some(most + 1), some(20_000), [...some(least), null], { 0: item, length: least }, null],
  };
};

const at = { generation: 1, step: 1, stateId: digits };
const where = { host: "h", port: 1 };
const { workerId, standing } = hello;
const ready = {
  type: "WorkerReady",
  layoutHash: hello.configHash,
  seedHash: hello.configHash,
  probeHash: hello.configHash,
  eagerBecause: null,
  stepsPerEpoch: 1,
  totalSteps: 1,
  seatCapacity: 1,
  tensors: { model: [], optimizer: [] },
};
const held = {
  type: "WorkerHeld",
  ...at,
  tail: { loss: 1, correct: 0, samples: 1, plan: 0, overflowed: 0, receipt: [0, 0, 0, 0] },
  timing: { dataMs: 0, computeMs: 0, communicationMs: 0, optimizerMs: 0 },
  memoryBytes: 0,
};
const state = {
  type: "WorkerState",
  ...at,
  stateHash: hello.configHash,
  totalBytes: 0,
  progress: peerState.progress,
  pauseMs: 0,
};
const regrouped = { type: "WorkerRegrouped", ...at };
const lost = { type: "WorkerLinkLost", generation: 1, peer: null, message: "" };
const fetch = { type: "CoordinatorFetch", ...at, from: [{ position: 0, ...where }] };
const load = { type: "CoordinatorLoad", ...at, source: { kind: "seed" }, leftOut: [] };
const proceed = { type: "CoordinatorProceed", ...at, seating: [0], peers: [{ workerId, ...where }] };
const checkpoint = { kind: "checkpoint", totalBytes: 0, progress: peerState.progress };

const cases: [field: string, bound: Bound, message: (value: unknown) => Claimed][] = [
  ["standing.epoch", uint32, (epoch) => ({ ...hello, standing: { ...standing, epoch } })],
  ["standing.generation", uint32, (generation) => ({ ...hello, standing: { ...standing, generation } })],
  ["standing.step", stepOrNone, (step) => ({ ...hello, standing: { ...standing, step } })],
  ["standing.stateId", stateId, (stateId) => ({ ...hello, standing: { ...standing, stateId } })],
  ["standing.linksUp", flag, (linksUp) => ({ ...hello, standing: { ...standing, linksUp } })],
  ["seatCapacity", whole(1, 1024), (seatCapacity) => ({ ...ready, seatCapacity })],
  ["generation", uint32, (generation) => ({ ...regrouped, generation })],
  ["step", stepOrNone, (step) => ({ ...regrouped, step })],
  ["stateId", stateId, (stateId) => ({ ...regrouped, stateId })],
  ["generation", uint32, (generation) => ({ ...lost, generation })],
  ["peer", { taken: [null, workerId], refused: ["", 0] }, (peer) => ({ ...lost, peer })],
  ["message", chars(2000), (message) => ({ ...lost, message })],
  ["message", chars(2000), (message) => ({ type: "WorkerSpoiled", generation: 1, step: 2, message })],
  ["reason", chars(500), (reason) => ({ type: "WorkerLeaving", reason })],
  ["stateId", stateId, (stateId) => ({ ...held, stateId })],
  ["tail.receipt", items(0, 4, 4), (receipt) => ({ ...held, tail: { ...held.tail, receipt } })],
  ["stateId", stateId, (stateId) => ({ ...state, stateId })],
  ["pauseMs", atLeastZero, (pauseMs) => ({ ...state, pauseMs })],
  ["busyMs", atLeastZero, (busyMs) => ({ type: "WorkerHeartbeat", sentAtMs: 0, busyMs })],
  ["epoch", uint32, (epoch) => ({ type: "CoordinatorWelcome", epoch })],
  ["generation", uint32, (generation) => ({ type: "CoordinatorRegroup", generation, members: [workerId] })],
  ["members", items(workerId, 1, 1024), (members) => ({ type: "CoordinatorRegroup", generation: 1, members })],
  ["step", uint32, (step) => ({ ...fetch, step })],
  ["stateId", stateId, (stateId) => ({ ...fetch, stateId })],
  ["from", items({ position: 0, ...where }, 1, 1024), (from) => ({ ...fetch, from })],
  ["from[0].position", whole(0, 1023), (position) => ({ ...fetch, from: [{ position, ...where }] })],
  ["from[0].port", whole(0, 65535), (port) => ({ ...fetch, from: [{ position: 0, host: "h", port }] })],
  ["step", uint32, (step) => ({ ...load, step })],
  ["stateId", stateId, (stateId) => ({ ...load, stateId })],
  ["source.totalBytes", whole(0, 2 ** 36), (totalBytes) => ({ ...load, source: { ...checkpoint, totalBytes } })],
  ["step", uint32, (step) => ({ ...proceed, step })],
  ["stateId", stateId, (stateId) => ({ ...proceed, stateId })],
  ["seating", items(0, 1, 1024), (seating) => ({ ...proceed, seating })],
  ["seating[0]", whole(0, 1023), (rank) => ({ ...proceed, seating: [rank] })],
  ["peers", items({ workerId, ...where }, 1, 1024), (peers) => ({ ...proceed, peers })],
  ["planId", whole(1, 2 ** 32 - 1), (planId) => ({ type: "CoordinatorPlan", planId, change: "stop" })],
  ["step", uint32, (step) => ({ type: "CoordinatorKept", step })],
  ["generation", uint32, (generation) => ({ ...peerState, generation })],
  ["step", uint32, (step) => ({ ...peerState, step })],
  ["stateId", stateId, (stateId) => ({ ...peerState, stateId })],
  ["effect", { taken: [null, peerState.effect], refused: [0, "stop", {}, []] }, (effect) => ({ ...peerState, effect })],
  ["effect.planId", whole(1, 2 ** 32 - 1), (planId) => ({ ...peerState, effect: { ...peerState.effect, planId } })],
  ["effect.after", uint32, (after) => ({ ...peerState, effect: { ...peerState.effect, after } })],
];

for (const [field, { taken, refused }, message] of cases) {
  const { type } = message(taken[0]);
  t.test(`${type}'s ${field} is taken up to its bounds and refused beyond`, async (t) => {
    const parse = parserOf(type);
    for (const value of taken) t.strictSame(parse(pack(message(value))), message(value));
    for (const value of refused) {
      const found = refusal(() => parse(pack(message(value))));
      t.equal(found.code, "MESSAGE_INVALID", found.message.slice(0, 100));
      t.ok(found.message.startsWith(`${type}: ${field}`), found.message);
    }
  });
}
