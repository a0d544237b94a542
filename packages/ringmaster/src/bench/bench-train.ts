/** `ringmaster bench train`: whole runs of SimpleCNN as a user starts them, in processes of their own, interleaved, medians of several. */
import { type BenchLine, median } from "./bench-line.ts";
import { chooseWorks } from "./choose-works.ts";
import type { BenchOptions } from "./compare.ts";
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

export async function* benchTrain(options: BenchOptions): AsyncGenerator<BenchLine> {
  const { steps, runs, cliFile, onProgress } = options;
  const chosen = chooseWorks<(typeof worlds)[number]>(worlds, options.work);
  const results = new Map<string, TimedResult[]>(chosen.map(({ work }) => [work, []]));
  for (let run = 1; run <= runs; run++) {
    for (const { work, args } of chosen) {
      const result = await trainOnce(cliFile, "simple-cnn", [...args, "--max-steps", String(steps)]);
      results.get(work)?.push(result);
      onProgress(`${work}, run ${run} of ${runs}: ${Math.round(result.imagesPerSecond)} images/s`);
    }
  }
  for (const [work, all] of results) {
    for (const [metric, read] of Object.entries(metrics)) {
      yield { bench: "train", work, metric, value: median(all.map(read)), runs };
    }
  }
}
