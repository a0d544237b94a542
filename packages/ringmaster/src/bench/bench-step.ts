/**
 * `ringmaster bench step`: the whole training step (data, forward, loss, backward, fold, Adam) as a run takes it, 64 samples a core, against the peers of its
 * table (`step-works.ts`), interleaved.
 */
import { cpuFeatures } from "@ringmaster/backend";
import type { BenchLine, PeerResult } from "./bench-line.ts";
import { chooseWorks } from "./choose-works.ts";
import { type BenchOptions, compare } from "./compare.ts";
import { findPeers, pythonStep } from "./peers.ts";
import { batchOf, canRun, type StepWork, stepMetrics, stepWorks, type Training, trainArgs } from "./step-works.ts";
import { trainOnce } from "./train-once.ts";

export async function* benchStep(options: BenchOptions): AsyncGenerator<BenchLine> {
  const works = runnable(chooseWorks(stepWorks, options.work), options.onProgress);
  const python = options.peer ? findPeers(works.flatMap(({ peer }) => (typeof peer === "string" ? [peer] : []))) : null;
  for (const work of works) {
    const { metric = "images/s", ours } = work;
    const { better, read } = stepMetrics[metric];
    const run = async (training: Training) =>
      read(await trainOnce(options.cliFile, training.model, trainArgs(training, options.steps)));
    const peer = opponent(work, { python, steps: options.steps, run });
    yield await compare({ bench: "step", work: work.work, metric, better, ours: () => run(ours), peer }, options);
  }
}

function runnable(works: readonly StepWork[], say: BenchOptions["onProgress"]): StepWork[] {
  const features = cpuFeatures();
  return works.filter(({ work, ours }) => {
    const can = canRun(ours, features);
    if (!can) say(`${work} is left out: this CPU has neither avx512_bf16 nor amx_bf16`);
    return can;
  });
}

interface Surroundings {
  /** Null: no peer in Python is measured. */
  readonly python: string | null;
  readonly steps: number;
  readonly run: (training: Training) => Promise<number>;
}

function opponent({ ours, peer }: StepWork, { python, steps, run }: Surroundings) {
  if (typeof peer === "string") {
    if (python === null) return undefined;
    return () => pythonStep(python, peer, { ...ours, batch: batchOf(ours), steps });
  }
  return async (): Promise<PeerResult> => ({
    peer: peer.name,
    value: "budget" in peer ? peer.budget : await run(peer.training),
  });
}
