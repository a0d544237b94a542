/** What a rank tells a peer that copies its state; the state's bytes follow as bulk `state` messages. */
import type { z } from "zod";
import { exactly, integer, oneOf, record, stateId, uint32 } from "./fields.ts";
import { maxUint32 } from "./limits.ts";
import { runProgressSchema } from "./run-progress.ts";

/** The plan that took effect last, and after which step: a part of what a rank holds, as its peers must do the same after that step. */
const planEffect = record({ planId: integer(1, maxUint32), change: oneOf("stop", "checkpoint"), after: uint32() });
export type PlanEffect = z.infer<typeof planEffect>;

export const peerStateSchema = record({
  type: exactly("PeerState"),
  generation: uint32(),
  step: uint32(),
  stateId: stateId(),
  /** As it was when the step was held: what is due after it, its receiver works too. */
  progress: runProgressSchema,
  effect: planEffect.nullable(),
});
export type PeerState = z.infer<typeof peerStateSchema>;
