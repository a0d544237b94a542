/** Who is judged lost, and why; pure, so that tables test it and a simulation replays it. Times in ms, by a monotonic clock. */
import type { Millis } from "@ringmaster/protocol";

export interface LivenessLimits {
  /** A member that says nothing for so long over a connection that stands is gone. */
  readonly silenceMs: Millis;
  /** How long a member whose connection was lost may take to come back. */
  readonly returnMs: Millis;
  /** The same, after a restart of the coordinator, once another member is back. */
  readonly gatherMs: Millis;
  /** How long a world without any earlier member waits for one. */
  readonly loneMs: Millis;
  /** Bounds on how long compute threads may be at one command; between them it follows the measured step time. */
  readonly leastStuckMs: Millis;
  readonly mostStuckMs: Millis;
  /** How long a link that failed waits for the death that explains it. */
  readonly blameMs: Millis;
}

export const defaultLimits: LivenessLimits = {
  silenceMs: 3000,
  returnMs: 500,
  gatherMs: 2500,
  loneMs: 60_000,
  leastStuckMs: 60_000,
  mostStuckMs: 900_000,
  blameMs: 100,
};

/** So many times as long as the slowest of the last steps, and a rank is stuck. */
const stuckSteps = 20;

export interface Signs {
  readonly heardMs: Millis;
  /** Since when its connection is gone; undefined while it stands. */
  readonly awayMs: Millis | undefined;
  /** How long its compute threads have been busy, by its last heartbeat. */
  readonly busyMs: Millis;
}

/** @param longestStepMs of the last steps; undefined before there are any @returns why it is lost, or null */
export function judge(
  signs: Signs,
  now: Millis,
  longestStepMs: Millis | undefined,
  limits: LivenessLimits,
): string | null {
  if (signs.awayMs !== undefined) {
    const awayMs = now - signs.awayMs;
    return awayMs < limits.returnMs
      ? null
      : `its connection is lost, and it did not come back in ${rounded(awayMs)} ms`;
  }
  const silentMs = now - signs.heardMs;
  if (silentMs >= limits.silenceMs) return `it has said nothing for ${rounded(silentMs)} ms`;
  const deadlineMs =
    longestStepMs === undefined
      ? limits.mostStuckMs
      : Math.min(limits.mostStuckMs, Math.max(limits.leastStuckMs, stuckSteps * longestStepMs));
  if (signs.busyMs < deadlineMs) return null;
  const usual = longestStepMs === undefined ? "" : `, where a step takes at most ${rounded(longestStepMs)} ms`;
  return `its compute threads have been at one command for ${rounded(signs.busyMs)} ms${usual}`;
}

const rounded = (ms: Millis): string => String(Math.round(ms));
