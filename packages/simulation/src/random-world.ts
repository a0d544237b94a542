/** A world drawn from a seed: who is in it, how fast it is, and what goes wrong. */
import { type Fault, randomFaults } from "./faults.ts";
import { Random } from "./random.ts";
import { smallWorld, type WorldSettings } from "./settings.ts";

export function randomWorld(seed: number): { readonly settings: WorldSettings; readonly faults: readonly Fault[] } {
  const random = new Random(seed);
  const ranks = 1 + random.below(7) + (random.chance(0.8) ? 1 : 0);
  const seats = Math.min(12, ranks + random.below(4));
  const settings: WorldSettings = {
    ...smallWorld,
    seed,
    ranks,
    seats,
    threads: 1 + random.below(2),
    steps: 4 + random.below(9),
    batchSize: 32,
    datasetSize: 100 + random.below(120),
    validates: random.chance(0.5),
    checkpointEverySteps: random.chance(0.7) ? 1 + random.below(5) : null,
    hashEverySteps: 1 + random.below(5),
    seatMs: random.pick([5, 40, 150]),
    buckets: 1 + random.below(3),
    segmentBytes: random.pick([64, 256, 1024]),
    modelBytes: random.pick([1024, 4096]),
    latencyMs: random.pick([0.05, 0.5, 20]),
    networkJitter: random.pick([0.1, 1, 4]),
    gbit: random.pick([0.001, 0.1, 10]),
    sumMs: random.pick([0, 0.2, 2]),
    flushMs: random.pick([1, 5, 80]),
    isLocal: random.chance(0.35),
  };
  return { settings, faults: randomFaults(random.fork(1), settings) };
}
