/** What may go wrong in a simulated world, as data: a schedule of faults is a world's, or follows from its seed. Workers are numbered as they start. */
import type { Millis } from "@ringmaster/protocol";
import type { Random } from "./random.ts";
import type { WorldSettings } from "./settings.ts";

export type Fault = { readonly atMs: Millis } & (
  | { readonly kind: "kill"; readonly worker: number; readonly restartMs: Millis | null }
  /** SIGSTOP, or a machine that does not get to it. */
  | { readonly kind: "pause"; readonly worker: number; readonly forMs: Millis }
  | { readonly kind: "killCoordinator"; readonly restartMs: Millis }
  /** `replaceMs`: another coordinator is started meanwhile. */
  | { readonly kind: "pauseCoordinator"; readonly forMs: Millis; readonly replaceMs: Millis | null }
  /** The connection with the coordinator breaks; each end hears of it after a while of its own. */
  | {
      readonly kind: "breakControl";
      readonly worker: number;
      readonly workerMs: Millis;
      readonly coordinatorMs: Millis;
    }
  /** So does one between two workers. */
  | { readonly kind: "breakLink"; readonly workers: readonly [number, number]; readonly hearMs: Millis }
  /** The coordinator's machine and those of these workers cannot reach each other. */
  | { readonly kind: "cutOff"; readonly workers: readonly number[]; readonly forMs: Millis }
  | { readonly kind: "part"; readonly workers: readonly [number, number]; readonly forMs: Millis }
  | { readonly kind: "leave"; readonly worker: number }
  | { readonly kind: "join" }
  | { readonly kind: "fullDisk"; readonly forMs: Millis }
  /** The newest checkpoint's bytes are no longer what they were. */
  | { readonly kind: "tearCheckpoint" }
);

/** Some faults, within the time in which the run would end without any. */
export function randomFaults(random: Random, settings: WorldSettings): Fault[] {
  const { ranks, steps, seatMs, seats, isLocal, startMs, prepareMs, latencyMs } = settings;
  const beganMs = startMs + prepareMs + 8 * latencyMs;
  const runMs = steps * (seatMs * Math.ceil(seats / ranks) * 1.2 + 2 * ranks * latencyMs);
  const count = 1 + random.below(5);
  const isBurst = random.chance(0.4);
  let atMs = beganMs + random.between(-0.05, 1.1) * runMs;
  const faults = Array.from({ length: count }, () => {
    // What follows closely meets the recovery from what went before.
    atMs = isBurst ? atMs + random.exponential(60) : beganMs + random.between(-0.05, 1.1) * runMs;
    return oneFault(random, ranks, isLocal, atMs);
  });
  // Now and then nobody is left, and what they go back to may be damaged by then.
  if (random.chance(0.08)) {
    for (let worker = 0; worker < ranks + 2; worker++)
      faults.push({
        atMs: beganMs + runMs * random.between(0.5, 0.6),
        kind: "kill",
        worker,
        restartMs: random.chance(0.5) ? random.between(50, 3000) : null,
      });
    while (random.chance(0.5))
      faults.push({ atMs: beganMs + runMs * random.between(0.5, 0.9), kind: "tearCheckpoint" });
  }
  return faults.sort((a, b) => a.atMs - b.atMs);
}

function oneFault(random: Random, ranks: number, isLocal: boolean, when: Millis): Fault {
  const atMs = Math.max(1, when);
  // Those that join count too.
  const worker = random.below(ranks + 2);
  const other = (worker + 1 + random.below(Math.max(1, ranks - 1))) % ranks;
  const forMs = random.chance(0.5) ? random.between(10, 900) : random.between(900, 12_000);
  const draw = random.unit();
  if (draw < 0.3)
    return { atMs, kind: "kill", worker, restartMs: random.chance(0.6) ? random.between(50, 3000) : null };
  if (draw < 0.42) return { atMs, kind: "pause", worker, forMs };
  if (draw < 0.57) return { atMs, kind: "killCoordinator", restartMs: random.between(30, 4000) };
  if (draw < 0.63)
    return { atMs, kind: "pauseCoordinator", forMs, replaceMs: random.chance(0.5) ? random.between(3000, 4500) : null };
  if (draw < 0.69)
    return {
      atMs,
      kind: "breakControl",
      worker,
      workerMs: random.between(0, 2000),
      coordinatorMs: random.between(0, 2000),
    };
  if (draw < 0.75) return { atMs, kind: "breakLink", workers: [worker, other], hearMs: random.between(0, 1000) };
  if (draw < 0.81) return { atMs, kind: "leave", worker };
  if (draw < 0.87) return { atMs, kind: "join" };
  if (draw < 0.9) return { atMs, kind: "fullDisk", forMs };
  if (draw < 0.92) return { atMs, kind: "tearCheckpoint" };
  if (isLocal) return { atMs, kind: "pause", worker, forMs };
  if (draw < 0.96)
    return {
      atMs,
      kind: "cutOff",
      workers: Array.from({ length: ranks }, (_, each) => each).filter(() => random.chance(0.5)),
      forMs,
    };
  return { atMs, kind: "part", workers: [worker, other], forMs };
}

/** When the last of them is over. */
export function endOf(faults: readonly Fault[]): Millis {
  return Math.max(
    0,
    ...faults.map((fault) => {
      const { atMs } = fault;
      if ("forMs" in fault) return atMs + fault.forMs;
      if ("restartMs" in fault) return atMs + (fault.restartMs ?? 0);
      return atMs;
    }),
  );
}
