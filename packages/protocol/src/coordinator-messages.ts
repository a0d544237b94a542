/** What the coordinator tells a worker. */
import type { z } from "zod";
import {
  atLeastZero,
  exactly,
  host,
  integer,
  label,
  list,
  oneOf,
  record,
  stateId,
  text,
  uint32,
  variants,
  workerId,
} from "./fields.ts";
import { maxErrorChars, maxLeftOut, maxReasonChars, maxSeats, maxStateBytes, maxUint32 } from "./limits.ts";
import { runConfigSchema } from "./run-config.ts";
import { runProgressSchema } from "./run-progress.ts";

const rank = () => integer(0, maxSeats - 1);

/** The first word on every connection. A worker that has heard a higher epoch hangs up: this coordinator has been replaced. */
export const coordinatorWelcomeSchema = record({ type: exactly("CoordinatorWelcome"), epoch: uint32() });
export type CoordinatorWelcome = z.infer<typeof coordinatorWelcomeSchema>;

/** To a worker that is not prepared yet: what to prepare for. It answers with `WorkerReady`. */
export const coordinatorStartSchema = record({ type: exactly("CoordinatorStart"), config: runConfigSchema });
export type CoordinatorStart = z.infer<typeof coordinatorStartSchema>;

/** A new generation is open: its members stop stepping, cut their links, and say what they hold. Who is not a member drops its state and joins anew. */
export const coordinatorRegroupSchema = record({
  type: exactly("CoordinatorRegroup"),
  generation: uint32(),
  members: list(workerId(), 1, maxSeats),
});
export type CoordinatorRegroup = z.infer<typeof coordinatorRegroupSchema>;

/** To a member that is behind: copy the state of `step` from one of these. A member's `position` is that in the generation's list. */
export const coordinatorFetchSchema = record({
  type: exactly("CoordinatorFetch"),
  generation: uint32(),
  step: uint32(),
  stateId: stateId(),
  from: list(record({ position: integer(0, maxSeats - 1), host: host(), port: integer(0, 65535) }), 1, maxSeats),
});
export type CoordinatorFetch = z.infer<typeof coordinatorFetchSchema>;

/** To members whose states do not count, or where nobody has one: take the seed's, or the checkpoint's, whose bytes follow as bulk `state` messages. */
export const coordinatorLoadSchema = record({
  type: exactly("CoordinatorLoad"),
  generation: uint32(),
  step: uint32(),
  stateId: stateId(),
  source: variants(
    ["seed", "checkpoint"],
    [
      record({ kind: exactly("seed") }),
      record({ kind: exactly("checkpoint"), totalBytes: integer(0, maxStateBytes), progress: runProgressSchema }),
    ],
  ),
  /** In the place of the progress's own: see there. */
  leftOut: list(uint32(), 0, maxLeftOut),
});
export type CoordinatorLoad = z.infer<typeof coordinatorLoadSchema>;

/** All members hold the state of `step`: the generation steps on from it. A member that is in no peer's place is not seated, and may go. */
export const coordinatorProceedSchema = record({
  type: exactly("CoordinatorProceed"),
  generation: uint32(),
  step: uint32(),
  stateId: stateId(),
  /** [seats]: the rank that sits on each seat. That a rank's seats are neighbours is not checked here. */
  seating: list(rank(), 1, maxSeats),
  /** In the order of ranks. */
  peers: list(record({ workerId: workerId(), host: host(), port: integer(0, 65535) }), 1, maxSeats),
});
export type CoordinatorProceed = z.infer<typeof coordinatorProceedSchema>;

/**
 * What a seat adds to a step's tail whose rank has a plan (0 without one). Small enough that 1,024 seats' sum is exact in float32, and different for any two
 * plans that ranks may have at one time: S times a plan's word is the sum of no other words.
 */
export const planWord = (planId: number): number => 1 + ((planId - 1) % 4093);

/** A planned change; it takes effect after the step whose tail says that all ranks have it. Plans are numbered; a worker has one at a time, the newest. */
export const coordinatorPlanSchema = record({
  type: exactly("CoordinatorPlan"),
  planId: integer(1, maxUint32),
  change: oneOf("stop", "checkpoint"),
});
export type CoordinatorPlan = z.infer<typeof coordinatorPlanSchema>;

/** The checkpoint of `step` is on disk: nobody needs to keep an older snapshot. */
export const coordinatorSavedSchema = record({ type: exactly("CoordinatorSaved"), step: uint32() });
export type CoordinatorSaved = z.infer<typeof coordinatorSavedSchema>;

/** What ranks said of the steps up to this one is on disk. */
export const coordinatorKeptSchema = record({ type: exactly("CoordinatorKept"), step: uint32() });
export type CoordinatorKept = z.infer<typeof coordinatorKeptSchema>;

/** The run is over, and well. */
export const coordinatorFinishSchema = record({ type: exactly("CoordinatorFinish"), reason: text(0, maxReasonChars) });
export type CoordinatorFinish = z.infer<typeof coordinatorFinishSchema>;

/** The run, or this worker's part in it, ends with an error. */
export const coordinatorAbortSchema = record({
  type: exactly("CoordinatorAbort"),
  code: label(),
  message: text(0, maxErrorChars),
});
export type CoordinatorAbort = z.infer<typeof coordinatorAbortSchema>;

/** It lives. `sentAtMs` is by the sender's own clock. */
export const coordinatorHeartbeatSchema = record({ type: exactly("CoordinatorHeartbeat"), sentAtMs: atLeastZero() });
export type CoordinatorHeartbeat = z.infer<typeof coordinatorHeartbeatSchema>;
