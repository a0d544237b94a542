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
  text,
  uint32,
  variants,
  workerId,
} from "./fields.ts";
import { maxErrorChars, maxReasonChars, maxSeats, maxStateBytes } from "./limits.ts";
import { runConfigSchema } from "./run-config.ts";
import { runProgressSchema } from "./run-progress.ts";

const rank = () => integer(0, maxSeats - 1);

/** Everything that a rank needs for a generation. Where the source is a state, its bytes follow as bulk `state` messages. */
export const coordinatorStartSchema = record({
  type: exactly("CoordinatorStart"),
  generation: uint32(),
  /** The receiver's own. */
  rank: rank(),
  /** [seats]: the rank that sits on each seat. That a rank's seats are neighbours is not checked here. */
  seating: list(rank(), 1, maxSeats),
  peers: list(record({ rank: rank(), workerId: workerId(), host: host(), port: integer(0, 65535) }), 0, maxSeats),
  config: runConfigSchema,
  source: variants(
    ["seed", "state"],
    [
      record({ kind: exactly("seed") }),
      record({
        kind: exactly("state"),
        step: uint32(),
        totalBytes: integer(0, maxStateBytes),
        progress: runProgressSchema,
      }),
    ],
  ),
}).superRefine(({ seating, config }, context) => {
  if (seating.length === config.seats) return;
  context.addIssue({
    code: "custom",
    path: ["seating"],
    input: seating,
    message: `expected a rank for each of the config's ${config.seats} seats, found ${seating.length}`,
  });
});
export type CoordinatorStart = z.infer<typeof coordinatorStartSchema>;

/** All ranks are ready: go. */
export const coordinatorBeginSchema = record({
  type: exactly("CoordinatorBegin"),
  generation: uint32(),
  firstStep: uint32(),
});
export type CoordinatorBegin = z.infer<typeof coordinatorBeginSchema>;

/** A planned change; it takes effect after the step whose tail says that all ranks have it. */
export const coordinatorPlanSchema = record({
  type: exactly("CoordinatorPlan"),
  generation: uint32(),
  planId: uint32(),
  change: oneOf("stop", "checkpoint"),
});
export type CoordinatorPlan = z.infer<typeof coordinatorPlanSchema>;

/** The checkpoint of `step` is on disk. */
export const coordinatorSavedSchema = record({ type: exactly("CoordinatorSaved"), step: uint32() });
export type CoordinatorSaved = z.infer<typeof coordinatorSavedSchema>;

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
