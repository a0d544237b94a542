/** `ringmaster bench train`: whole runs of SimpleCNN as a user starts them, in processes of their own, interleaved, medians of several. */
import { type BenchLine, median } from "./bench-line.ts";
import { type TimedResult, trainOnce } from "./train-once.ts";

const worlds = [
  { work: "simple-cnn/1-rank-1-thread", args: ["--ranks", "1", "--threads", "1"] },
  { work: "simple-cnn/1-rank-2-threads", args: ["--ranks", "1", "--threads", "2"] },
  { work: "simple-cnn/2-ranks-1-thread", args: ["--ranks", "2", "--threads", "1"] },
] as const;

const metrics: Readonly<Record<string, (result: TimedResult) => number>> = {
  "images/s": (result) => result.imagesPerSecond,
  "data ms/step": (result) => result.meanMs.data,
  "compute ms/step": (result) => result.meanMs.compute,
  "communication ms/step": (result) => result.meanMs.communication,
  "optimizer ms/step": (result) => result.meanMs.optimizer,
  "peak MiB/rank": (result) => result.peakMemoryBytes / 2 ** 20,
  "seconds to first step": ({ firstStepAtMs, startedAtMs }) => ((firstStepAtMs ?? Number.NaN) - startedAtMs) / 1000,
};

export interface BenchOptions {
  /** Steps of each run. */
  readonly steps: number;
  /** Interleaved runs of each work. */
  readonly runs: number;
  /** Only works whose name contains it. */
  readonly work: string | undefined;
  readonly cliFile: string;
  readonly onProgress: (line: string) => void;
}

export async function benchTrain({
  steps,
  runs,
  work: wanted,
  cliFile,
  onProgress,
}: BenchOptions): Promise<BenchLine[]> {
  const chosen = worlds.filter(({ work }) => wanted === undefined || work.includes(wanted));
  const results = new Map<string, TimedResult[]>(chosen.map(({ work }) => [work, []]));
  for (let run = 0; run < runs; run++) {
    for (const { work, args } of chosen) {
      const result = await trainOnce(cliFile, "simple-cnn", [...args, "--max-steps", String(steps)]);
      results.get(work)?.push(result);
      onProgress(`${work}: ${Math.round(result.imagesPerSecond)} images/s`);
    }
  }
  return [...results].flatMap(([work, all]) =>
    Object.entries(metrics).map(([metric, read]) => ({
      bench: "train",
      work,
      metric,
      value: median(all.map(read)),
      runs,
    })),
  );
}
