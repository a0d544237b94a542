/** Some hours of a run on a cluster in which things fail: what becomes of its steps. */
import type { Millis } from "@ringmaster/protocol";
import { type Cluster, coarseBuckets, settingsOf, stepTime, wireOptimum } from "./cluster.ts";
import type { Fault } from "./faults.ts";
import { Random } from "./random.ts";
import { World, type WorldEvent } from "./world.ts";

export interface SimulateOptions extends Cluster {
  readonly seed: number;
  readonly hours: number;
  /** Faults of each rank in an hour, and of the coordinator. */
  readonly faultRate: number;
}

export interface SimulationReport {
  readonly seed: number;
  readonly ranks: number;
  readonly seats: number;
  readonly hours: number;
  readonly faults: number;
  /** Committed. */
  readonly steps: number;
  readonly stepMs: Millis;
  /** Of the steps that the same time would have brought without faults. */
  readonly goodput: number;
  /** How often a new generation was opened, by cause. */
  readonly recoveries: Readonly<Record<RecoveryCause, number>>;
  /** From the opening of a generation to its proceeding, the longest. */
  readonly longestRecoveryMs: Millis;
  /** Of one rank's throughput times the number of ranks. */
  readonly scalingEfficiency: number;
  readonly topology: "ring";
  /** What a rank sends in a step, and against what no all-reduce can do without (`wireOptimum`). */
  readonly bytesSentPerStep: number;
  readonly bytesOverOptimum: number;
  /** How long that takes by itself, and against the same. */
  readonly wireMs: Millis;
  readonly wireOverOptimum: number;
  /** Of a step, that the ring takes beyond computing. */
  readonly waitMs: Millis;
  readonly events: number;
  readonly traceHash: number;
}

export type RecoveryCause = "death" | "hang" | "link" | "join" | "leave" | "coordinator";

const hourMs = 3_600_000;
/** A machine that died is back after so long, or another in its place. */
const repairMs = [20_000, 90_000] as const;

export function simulateRun(options: SimulateOptions): SimulationReport {
  const { seed, hours, ranks, seats } = options;
  const buckets = coarseBuckets(options);
  const step = stepTime(options, buckets);
  const steps = Math.ceil((hours * hourMs) / step.totalMs) + 1;
  const settings = {
    ...settingsOf(options, buckets),
    ...{ seed, steps, batchSize: seats, datasetSize: seats * Math.min(steps, 500), validates: false },
    checkpointEverySteps: 500,
    hashEverySteps: 100,
  };
  const faults = drawFaults(options);
  const watch = new RecoveryWatch();
  const untilMs = hours * hourMs;
  const world = new World({ settings, faults, untilMs, onEvent: (of, event) => watch.event(event, of.time.nowMs) });
  const { violations, nowMs, events, traceHash } = world.run();
  const [violation] = violations;
  if (violation !== undefined) throw new Error(`seed ${seed}: ${violation}`);
  const committed = world.coordinator?.core.committed ?? 0;
  const optimum = wireOptimum(options);
  return {
    ...{ seed, ranks, seats, hours, faults: faults.length, steps: committed, stepMs: step.totalMs },
    goodput: Math.min(1, (committed * step.totalMs) / (Math.min(nowMs, untilMs) - watch.beganMs)),
    recoveries: watch.causes,
    longestRecoveryMs: watch.longestMs,
    scalingEfficiency: efficiency(options),
    topology: "ring",
    bytesSentPerStep: step.bytesSent,
    bytesOverOptimum: ranks === 1 ? 1 : step.bytesSent / optimum.bytes,
    wireMs: step.wireMs,
    wireOverOptimum: ranks === 1 ? 1 : step.wireMs / optimum.ms,
    waitMs: step.waitMs,
    ...{ events, traceHash },
  };
}

/** Throughput against that of as many ranks that need not wait for each other, each with a seat's samples. */
export function efficiency(cluster: Cluster): number {
  const alone = stepTime({ ...cluster, ranks: 1, seats: 1 }).totalMs;
  const { totalMs } = stepTime(cluster);
  return (alone * cluster.seats) / cluster.ranks / totalMs;
}

function drawFaults({ seed, hours, ranks, faultRate }: SimulateOptions): Fault[] {
  if (faultRate === 0) return [];
  const random = new Random(seed).fork(7);
  const faults: Fault[] = [];
  const meanMs = hourMs / (faultRate * (ranks + 1));
  for (let atMs = 10_000 + random.exponential(meanMs); atMs < hours * hourMs; atMs += random.exponential(meanMs)) {
    const victim = random.below(ranks + 1);
    if (victim === ranks) {
      faults.push({ atMs, kind: "killCoordinator", restartMs: random.between(500, 5000) });
      continue;
    }
    const draw = random.unit();
    const worker = victim;
    if (draw < 0.7) faults.push({ atMs, kind: "kill", worker, restartMs: random.between(...repairMs) });
    else if (draw < 0.9) faults.push({ atMs, kind: "pause", worker, forMs: random.between(6000, 60_000) });
    else faults.push({ atMs, kind: "breakLink", workers: [worker, (worker + 1) % ranks], hearMs: 0 });
  }
  return faults;
}

class RecoveryWatch {
  readonly causes: Record<RecoveryCause, number> = { death: 0, hang: 0, link: 0, join: 0, leave: 0, coordinator: 0 };
  beganMs: Millis = 0;
  longestMs: Millis = 0;
  #openedMs: Millis | undefined;

  event(event: WorldEvent, nowMs: Millis): void {
    if (event.type !== "coordinator" || event.effect.type !== "event") return;
    const told = event.effect.event;
    if (told.type === "regrouping" && told.generation > 1) {
      this.causes[causeOf(told.because)]++;
      this.#openedMs ??= nowMs;
    }
    if (told.type !== "proceeding") return;
    if (this.beganMs === 0) this.beganMs = nowMs;
    if (this.#openedMs !== undefined) this.longestMs = Math.max(this.longestMs, nowMs - this.#openedMs);
    this.#openedMs = undefined;
  }
}

function causeOf(because: string): RecoveryCause {
  if (because.includes("joins") || because.includes("more workers")) return "join";
  if (because.includes("leaves")) return "leave";
  if (because.includes("coordinator")) return "coordinator";
  if (because.includes("said nothing")) return "hang";
  return because.includes("link") || because.includes("reset") ? "link" : "death";
}
