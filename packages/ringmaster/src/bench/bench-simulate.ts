/** `ringmaster bench simulate`: how much faster than the clock a simulated cluster of 1,000 ranks trains, on one core and in this process. */
import type { BenchLine } from "./bench-line.ts";
import { chooseWorks } from "./choose-works.ts";
import { type BenchOptions, compare } from "./compare.ts";

interface SimulateWork {
  readonly work: string;
  readonly ranks: number;
  /** Simulated seconds that a second must bring. */
  readonly budget: number;
}

const simulateWorks: readonly SimulateWork[] = [{ work: "simulate/1000-ranks", ranks: 1000, budget: 10 }];

/** A step is one second of a seat's computing, over links on which the ring hides behind it. */
const cluster = { stepMs: 1000, modelBytes: 10_000_000, latencyMs: 0.01, gbit: 100, faultRate: 0, seed: 1 };

export async function* benchSimulate(options: BenchOptions): AsyncGenerator<BenchLine> {
  // No other command waits for it at its start.
  const { simulateRun } = await import("@ringmaster/simulation");
  for (const { work, ranks, budget } of chooseWorks(simulateWorks, options.work)) {
    const figure = { bench: "simulate", work, metric: "simulated-s/s", better: "more" } as const;
    const ours = async () => {
      const began = performance.now();
      const { steps, stepMs } = simulateRun({ ...cluster, ranks, seats: ranks, hours: options.steps / 3600 });
      return (steps * stepMs) / (performance.now() - began);
    };
    const peer = async () => ({ peer: `${budget} x real time`, value: budget });
    yield await compare({ ...figure, ours, peer }, options);
  }
}
