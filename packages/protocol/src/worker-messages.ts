/** What a worker tells the coordinator. */
import type { z } from "zod";
import { expecting } from "./explain.ts";
import {
  anyNumber,
  atLeastZero,
  count,
  exactly,
  flag,
  hash,
  host,
  integer,
  label,
  list,
  oneOf,
  record,
  stateId,
  text,
  uint32,
  workerId,
} from "./fields.ts";
import {
  maxClasses,
  maxConfusionEntries,
  maxErrorChars,
  maxLabelChars,
  maxReasonChars,
  maxSeats,
  maxStateBytes,
  maxTensorRank,
  maxTensors,
  maxThreads,
  maxUint32,
  protocolVersion,
} from "./limits.ts";
import { runProgressSchema } from "./run-progress.ts";

/** Where a worker stands when it connects. */
const standing = record({
  /** `unprepared`: it knows no config yet. `spare`: prepared, without a state that counts. `done`: it holds the run's last step. */
  phase: oneOf("unprepared", "spare", "regrouping", "stepping", "done"),
  /** The highest that it has heard of. */
  epoch: uint32(),
  generation: uint32(),
  /** The step that it holds; -1: none. */
  step: integer(-1, maxUint32),
  stateId: stateId(),
  /** Its ring has not failed. */
  linksUp: flag(),
});
export type WorkerStanding = z.infer<typeof standing>;

/** The first word on every connection: who it is, what it would train on and with, and where it stands. */
export const workerHelloSchema = record({
  type: exactly("WorkerHello"),
  protocol: exactly(protocolVersion),
  /** New at every process start and every drop. */
  workerId: workerId(),
  configHash: hash(),
  datasetHash: hash(),
  device: record({ kind: oneOf("cpu", "gpu"), name: label() }),
  /** What a gradient's bits depend on, apart from the probe that `WorkerReady` brings. */
  fingerprint: record({ backend: label(), backendVersion: label(), node: label(), cpu: label() }),
  threads: integer(1, maxThreads),
  host: host(),
  pid: uint32(),
  /** Where its peers dial it; port 0 where it does not listen (a world of one). */
  ring: record({ host: host(), port: integer(0, 65535) }),
  standing,
});
export type WorkerHello = z.infer<typeof workerHelloSchema>;

const tensors = () =>
  list(record({ name: text(1, maxLabelChars), shape: list(uint32(), 0, maxTensorRank) }), 0, maxTensors);

/** The shapes are captured: it can take seats. Said once after every hello of a prepared worker. */
export const workerReadySchema = record({
  type: exactly("WorkerReady"),
  layoutHash: hash(),
  /** Of the state that the seed makes. */
  seedHash: hash(),
  /** Of the run's own gradient on a fixed batch. */
  probeHash: hash(),
  /** Why the step runs op by op although the backend captures; null where it does not. */
  eagerBecause: label().nullable(),
  stepsPerEpoch: integer(1, maxUint32),
  /** Steps of the whole run. */
  totalSteps: integer(1, maxUint32),
  /** So many seats' gradients fit its memory. */
  seatCapacity: integer(1, maxSeats),
  /** What the state is made of, in the order in which its bytes travel: float32, without gaps. */
  tensors: record({ model: tensors(), optimizer: tensors() }),
});
export type WorkerReady = z.infer<typeof workerReadySchema>;

/** This member of a generation that is open has stopped, and holds this. Said again when it holds another. */
export const workerRegroupedSchema = record({
  type: exactly("WorkerRegrouped"),
  generation: uint32(),
  /** -1: none. */
  step: integer(-1, maxUint32),
  stateId: stateId(),
});
export type WorkerRegrouped = z.infer<typeof workerRegroupedSchema>;

/** A link of this rank's ring, or its copying from a peer, has failed; it waits for the next generation. */
export const workerLinkLostSchema = record({
  type: exactly("WorkerLinkLost"),
  generation: uint32(),
  /** The neighbour concerned, where one is. */
  peer: workerId().nullable(),
  message: text(0, maxErrorChars),
});
export type WorkerLinkLost = z.infer<typeof workerLinkLostSchema>;

/** What the step after `step` gave is not finite, and the config says to go back for it: this rank steps no more in this generation, as all others. */
export const workerSpoiledSchema = record({
  type: exactly("WorkerSpoiled"),
  generation: uint32(),
  step: uint32(),
  message: text(0, maxErrorChars),
});
export type WorkerSpoiled = z.infer<typeof workerSpoiledSchema>;

/** It has been asked to leave, and goes as soon as a generation proceeds without it. */
export const workerLeavingSchema = record({ type: exactly("WorkerLeaving"), reason: text(0, maxReasonChars) });
export type WorkerLeaving = z.infer<typeof workerLeavingSchema>;

/** This rank holds the step: its all-gather is complete and the receipt is right. */
export const workerHeldSchema = record({
  type: exactly("WorkerHeld"),
  generation: uint32(),
  step: uint32(),
  stateId: stateId(),
  /**
   * Sums over the global batch; `plan`: sum of the seats' plan words; `overflowed`: seats whose gradients were not all finite; `receipt`: the sums of
   * four limbs of hash(step, slot, sample id).
   */
  tail: record({
    loss: anyNumber(),
    correct: atLeastZero(),
    samples: count(),
    plan: count(),
    overflowed: count(),
    receipt: list(count(), 4, 4),
  }),
  timing: record({
    dataMs: atLeastZero(),
    computeMs: atLeastZero(),
    communicationMs: atLeastZero(),
    optimizerMs: atLeastZero(),
  }),
  memoryBytes: count(),
});
export type WorkerHeld = z.infer<typeof workerHeldSchema>;

const confusionSaid = expecting("classes x classes entries of confusion");

/** What the ranks together found in an evaluation that was due after `step`. */
export const workerEvaluatedSchema = record({
  type: exactly("WorkerEvaluated"),
  generation: uint32(),
  step: uint32(),
  evaluation: record({
    split: oneOf("validation", "test"),
    /** Sum over the samples. */
    loss: anyNumber(),
    samples: count(),
    /** [classes * classes]: entry `t * classes + p` counts the samples of class t that were taken for p. */
    confusion: list(uint32(), 1, maxConfusionEntries),
    classes: integer(1, maxClasses),
  }).refine(({ confusion, classes }) => confusion.length === classes * classes, {
    path: ["confusion"],
    ...confusionSaid,
  }),
});
export type WorkerEvaluated = z.infer<typeof workerEvaluatedSchema>;

/** The hash of this rank's state after `step`: ranks that differ have drifted. */
export const workerStateHashSchema = record({
  type: exactly("WorkerStateHash"),
  generation: uint32(),
  step: uint32(),
  hash: hash(),
});
export type WorkerStateHash = z.infer<typeof workerStateHashSchema>;

/** Announces the snapshot of the state after `step`; its bytes follow as bulk `state` messages. */
export const workerStateSchema = record({
  type: exactly("WorkerState"),
  generation: uint32(),
  step: uint32(),
  stateId: stateId(),
  stateHash: hash(),
  totalBytes: integer(0, maxStateBytes),
  progress: runProgressSchema,
  /** How long training stood still for the snapshot. */
  pauseMs: atLeastZero(),
});
export type WorkerState = z.infer<typeof workerStateSchema>;

/** This rank has done everything: its last step is `step`, because the run is over or because a planned stop took effect. */
export const workerDoneSchema = record({
  type: exactly("WorkerDone"),
  generation: uint32(),
  step: uint32(),
  stopped: flag(),
});
export type WorkerDone = z.infer<typeof workerDoneSchema>;

/** This rank cannot go on. */
export const workerFailedSchema = record({
  type: exactly("WorkerFailed"),
  /** `run`: every rank would fail like this, as of a loss that is not finite. `worker`: this one alone has failed, and the others may go on. */
  concerns: oneOf("run", "worker"),
  code: label(),
  message: text(0, maxErrorChars),
});
export type WorkerFailed = z.infer<typeof workerFailedSchema>;

/** It leaves, and not because it failed. */
export const workerByeSchema = record({ type: exactly("WorkerBye"), reason: text(0, maxReasonChars) });
export type WorkerBye = z.infer<typeof workerByeSchema>;

/** It lives. `sentAtMs` is by the sender's own clock. */
export const workerHeartbeatSchema = record({
  type: exactly("WorkerHeartbeat"),
  sentAtMs: atLeastZero(),
  /** How long its compute threads have been at what they do; 0: they wait. */
  busyMs: atLeastZero(),
});
export type WorkerHeartbeat = z.infer<typeof workerHeartbeatSchema>;
