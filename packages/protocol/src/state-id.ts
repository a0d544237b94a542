/**
 * The name of a state: which step, out of which attempts. A step that is tried again in a later generation gets another name, as where numerics differ it
 * may get other bits; so two states of one name have one history, and what was computed from a state may be used again only for that very state.
 */
import { createHash } from "node:crypto";

/** Of the state that the seed makes, before the first step. */
export const seedStateId = "0".repeat(16);

/** Of the state after the next step, when `generation` has reduced it. 16 lower-case hex digits. */
export function nextStateId(stateId: string, generation: number): string {
  return createHash("sha256").update(`${stateId}/${generation}`).digest("hex").slice(0, seedStateId.length);
}
