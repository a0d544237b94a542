/**
 * What the end of a supervised process means, and whether it is started again. Pure: the supervisor says what it saw, a table tests what follows.
 *
 * A process is *ready* once it has told so: a worker when it has joined, a coordinator when it listens. One that never got ready at its first start has a
 * fault of its own that a restart would repeat. Any other end that nobody asked for is a *death*, and is mended by a start. Deaths are counted in three
 * ways: in a row without getting ready in between and within the last minutes, to give up what cannot live; and since the last long life, to wait longer
 * each time.
 */

/** With this a coordinator asks for a restart: it lost hold of its journal in the middle of the run, and goes on from what is in it. */
export const journalLostExitCode = 70;

/** How a process ended; neither code nor signal where it could not be started. */
export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Life {
  /** Whether it was the first process of its role. */
  readonly isFirst: boolean;
  readonly wasReady: boolean;
}

/**
 * `unfit`: it could not even join, which ends the launch. `left`: it was asked to go. `over`: it says that the run has ended. `spoiled`: it joined and then
 * found its machine or files unusable, which the next would too. `died`: to be started again.
 */
export type WorkerEndKind = "unfit" | "left" | "over" | "spoiled" | "died";

export function judgeWorkerEnd({ code, signal }: ProcessEnd, { isFirst, wasReady }: Life): WorkerEndKind {
  if (isFirst && !wasReady) return code === 0 ? "over" : "unfit";
  if (code === 143 || signal === "SIGTERM") return "left";
  if (code === 0 || code === 130) return "over";
  return code === 2 && wasReady ? "spoiled" : "died";
}

/** `over`: the run has ended with it. */
export type CoordinatorEndKind = "over" | "died";

export function judgeCoordinatorEnd({ code, signal }: ProcessEnd, { isFirst, wasReady }: Life): CoordinatorEndKind {
  if ((isFirst && !wasReady) || signal === "SIGTERM") return "over";
  return code === null || code === journalLostExitCode ? "died" : "over";
}

export interface Deaths {
  /** When, those of the last minutes. */
  readonly recentMs: readonly number[];
  /** Without getting ready in between. */
  readonly inARow: number;
  /** Since it last stayed ready for long. */
  readonly sinceSteady: number;
}

export interface RestartLimits {
  /** So many deaths in a row are the last. */
  readonly inARow: number;
  /** So many deaths within five minutes are the last. */
  readonly recent: number;
}

export const workerLimits: RestartLimits = { inARow: 8, recent: 20 };
/** Restarted at most five times in a row. */
export const coordinatorLimits: RestartLimits = { inARow: 6, recent: 20 };

const recentMinutes = 5;
const steadyMs = 30_000;
/** The first restart is at once, the second after a delay that then doubles up to twenty times itself. */
export const defaultDelayMs = 500;

export const noDeaths: Deaths = { recentMs: [], inARow: 0, sinceSteady: 0 };

/** @param readyMs when the process that died got ready, if it did */
export function countDeath(deaths: Deaths, diedMs: number, readyMs: number | undefined): Deaths {
  const wasSteady = readyMs !== undefined && diedMs - readyMs >= steadyMs;
  return {
    recentMs: [...deaths.recentMs.filter((ms) => diedMs - ms < recentMinutes * 60_000), diedMs],
    inARow: readyMs === undefined ? deaths.inARow + 1 : 1,
    sinceSteady: wasSteady ? 1 : deaths.sinceSteady + 1,
  };
}

export type RestartVerdict =
  | { readonly verdict: "restart"; readonly afterMs: number }
  | { readonly verdict: "giveUp"; readonly reason: string };

/** What to do after a death. @param deaths with it counted */
export function judgeDeaths(deaths: Deaths, limits: RestartLimits, delayMs: number): RestartVerdict {
  if (deaths.inARow >= limits.inARow) return { verdict: "giveUp", reason: `it died ${deaths.inARow} times in a row` };
  if (deaths.recentMs.length >= limits.recent) {
    return { verdict: "giveUp", reason: `it died ${deaths.recentMs.length} times within ${recentMinutes} minutes` };
  }
  const waits = deaths.sinceSteady - 1;
  return { verdict: "restart", afterMs: waits === 0 ? 0 : Math.min(delayMs * 2 ** (waits - 1), delayMs * 20) };
}
