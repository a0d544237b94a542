/**
 * `ringmaster bench faults`: what faults cost, and what being ready for them costs. SimpleCNN on two ranks whose processes are killed and stopped by this one.
 *
 * - kill-seen-ms, stop-seen-ms: from the signal until the coordinator says that the rank is lost.
 * - recover-ms: from the kill of a rank to the next step that the others commit, less what a step takes.
 * - replace-ms: from the same kill to the first step with the worker that was started in place of the dead one.
 * - coordinator-back-ms: from the kill of the coordinator to the first step that its successor commits. Workers do not stand still meanwhile.
 * - coordinator-steps-lost: steps that were shown before and were gone back or are missing afterwards, over all kills.
 * - overhead: throughput with all this against without. Nothing of it can be switched off, so it is read off a profile of all processes' main threads: what the
 *   cores have left when the code that is there for faults alone is done (heartbeats, what is kept to be said again, snapshots, journal, membership).
 *   `npm run bench:against` compares with a commit from before there was any of it.
 * - goodput: steps in three minutes with a kill of a rank each minute, against those without.
 */
import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { type BenchLine, median } from "./bench-line.ts";
import { chooseWorks } from "./choose-works.ts";
import type { BenchOptions } from "./compare.ts";
import { HarmedRun, type LoggedEvent } from "./harmed-run.ts";
import { profiledRun } from "./profiled-run.ts";

const ranks = 2;
/** By which the time of a step is known, and the supervisor takes the processes for sound. */
const quietSteps = 40;
const metrics = {
  "kill-seen-ms": "ms, p95",
  "stop-seen-ms": "ms, p95",
  "recover-ms": "ms, p95",
  "replace-ms": "ms, p95",
  "coordinator-back-ms": "ms, p95",
  "coordinator-steps-lost": "steps",
  overhead: "ratio",
  goodput: "ratio",
} as const;

type Work = keyof typeof metrics;

/** Figures by work, one a fault. */
type Figures = Partial<Record<Work, number>>;

const measurements: readonly {
  readonly works: readonly Work[];
  readonly measure: (options: BenchOptions) => AsyncIterable<Figures>;
}[] = [
  { works: ["kill-seen-ms", "recover-ms", "replace-ms"], measure: (options) => each(options, killRank) },
  { works: ["stop-seen-ms"], measure: (options) => each(options, stopRank) },
  { works: ["coordinator-back-ms", "coordinator-steps-lost"], measure: (options) => each(options, killCoordinator) },
  { works: ["overhead"], measure: measureOverhead },
  { works: ["goodput"], measure: measureGoodput },
];

export async function* benchFaults(options: BenchOptions): AsyncGenerator<BenchLine> {
  const all = measurements.flatMap(({ works }) => works.map((work) => ({ work })));
  const chosen = new Set(chooseWorks(all, options.work).map(({ work }) => work));
  for (const { works, measure } of measurements) {
    const wanted = works.filter((work) => chosen.has(work));
    if (wanted.length === 0) continue;
    const figures: Figures[] = [];
    for await (const figure of measure(options)) {
      figures.push(figure);
      const shown = Object.entries(figure).map(([work, value]) => `${work} ${value.toPrecision(3)}`);
      options.onProgress(`${figures.length}: ${shown.join(", ")}`);
    }
    for (const work of wanted) {
      const values = figures.flatMap((figure) => figure[work] ?? []);
      const value = summary(work, values);
      yield { bench: "faults", work, metric: metrics[work], value, runs: values.length };
    }
  }
}

/** As many faults as runs were asked for, in one run of Ringmaster's. */
async function* each(
  { cliFile, runs }: BenchOptions,
  harm: (run: HarmedRun) => Promise<Figures>,
): AsyncGenerator<Figures> {
  const run = await HarmedRun.start({ cliFile, ranks });
  try {
    for (let fault = 0; fault < runs; fault++) {
      await quiet(run);
      yield await harm(run);
    }
  } finally {
    await run.remove();
  }
}

/** A whole world has stepped for a while. */
async function quiet(run: HarmedRun): Promise<void> {
  await run.until("a whole world", () => run.world().length === ranks);
  const step = lastStep(run);
  await run.until("steps", () => lastStep(run) >= step + quietSteps);
}

const lastStep = (run: HarmedRun): number => run.steps().at(-1)?.step ?? 0;

/** What a step takes at present, as the ranks have timed its parts. */
const stepMs = (run: HarmedRun): number =>
  median(
    run
      .steps()
      .slice(-quietSteps)
      .map(({ dataMs, computeMs, communicationMs, optimizerMs }) => dataMs + computeMs + communicationMs + optimizerMs),
  );

const lost = (run: HarmedRun, pid: number) =>
  run.until(`the loss of pid ${pid}`, () => run.of("lost").find(({ peer }) => peer?.includes(`pid ${pid} `)));

/** When the first step was committed of the first world since then that is as wanted. */
async function firstStepOf(
  run: HarmedRun,
  sinceMs: number,
  isWanted: (world: LoggedEvent) => boolean,
): Promise<number> {
  const { time } = await run.until("another world", () =>
    run.of("proceeding").find((world) => world.time >= sinceMs && isWanted(world)),
  );
  const step = await run.until("a step of it", () => run.of("stepping").find((each) => each.time >= time));
  return step.time;
}

function strike(pid: number, signal: NodeJS.Signals): number {
  const atMs = Date.now();
  process.kill(pid, signal);
  return atMs;
}

async function killRank(run: HarmedRun): Promise<Figures> {
  const pid = run.world().at(-1) ?? 0;
  const usualMs = stepMs(run);
  const atMs = strike(pid, "SIGKILL");
  const { time: seenMs } = await lost(run, pid);
  const isWithout = ({ pids = [] }: LoggedEvent) => !pids.includes(pid);
  const recoveredMs = await firstStepOf(run, seenMs, isWithout);
  const replacedMs = await firstStepOf(run, seenMs, (world) => isWithout(world) && world.pids?.length === ranks);
  return {
    "kill-seen-ms": seenMs - atMs,
    "recover-ms": Math.max(0, recoveredMs - atMs - usualMs),
    "replace-ms": replacedMs - atMs,
  };
}

async function stopRank(run: HarmedRun): Promise<Figures> {
  const pid = run.world().at(-1) ?? 0;
  const known = run.of("lost").length;
  const atMs = strike(pid, "SIGSTOP");
  try {
    const seen = await run.until("the loss of a rank", () => run.of("lost")[known]);
    return { "stop-seen-ms": seen.time - atMs };
  } finally {
    process.kill(pid, "SIGCONT");
  }
}

async function killCoordinator(run: HarmedRun): Promise<Figures> {
  const pid = run.events().at(-1)?.pid ?? 0;
  const gone = run.of("restored").length;
  const step = lastStep(run);
  const atMs = strike(pid, "SIGKILL");
  const backMs = await firstStepOf(run, atMs, (world) => world.pid !== pid);
  await quiet(run);
  const restored = run.of("restored").slice(gone);
  const missing = run.steps().filter((row, index) => row.step !== index + 1).length;
  const lostSteps = sum(restored.map((each) => Math.max(0, step - (each.step ?? 0)))) + missing;
  return { "coordinator-back-ms": backMs - atMs, "coordinator-steps-lost": lostSteps };
}

/** Files that would not be there in a world without faults. */
const forFaults =
  /\/(coordinator-line|outbox|snapshot-\w+|standing|plans|copy-from-peer|journal|journal-\w+|liveness|membership|known-workers|link-faults|incoming-states|keep-alive|state-offer|suspect-samples)\.[jt]s$/;

async function* measureOverhead({ cliFile, steps, runs }: BenchOptions): AsyncGenerator<Figures> {
  for (let run = 0; run < runs; run++) {
    const { profiledSeconds, seconds } = await profiledRun({ cliFile, ranks, steps, files: forFaults });
    yield { overhead: 1 - profiledSeconds / seconds / availableParallelism() };
  }
}

const minuteMs = 60_000;
const minutes = 3;

async function* measureGoodput({ cliFile, onProgress }: BenchOptions): AsyncGenerator<Figures> {
  const stepsIn = async (isHarmed: boolean) => {
    const run = await HarmedRun.start({ cliFile, ranks });
    try {
      await quiet(run);
      const first = lastStep(run);
      for (let minute = 0; minute < minutes; minute++) {
        if (isHarmed) strike(run.world().at(-1) ?? 0, "SIGKILL");
        await sleep(minuteMs);
      }
      const made = lastStep(run) - first;
      onProgress(`${made} steps in ${minutes} minutes ${isHarmed ? "with a kill each" : "undisturbed"}`);
      await run.stop();
      return made;
    } finally {
      await run.remove();
    }
  };
  const undisturbed = await stepsIn(false);
  yield { goodput: (await stepsIn(true)) / undisturbed };
}

function summary(work: Work, values: readonly number[]): number {
  if (work === "coordinator-steps-lost") return sum(values);
  return metrics[work] === "ratio" ? median(values) : p95(values);
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

function p95(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.ceil(0.95 * sorted.length) - 1] ?? Number.NaN;
}
