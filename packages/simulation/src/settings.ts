/** What a simulated world is made of. */
import type { BucketLayout } from "@ringmaster/collective";
import type { Millis, RunConfig } from "@ringmaster/protocol";

export interface WorldSettings {
  readonly seed: number;
  /** Workers with which the run begins. */
  readonly ranks: number;
  readonly seats: number;
  /** Compute threads of a rank. */
  readonly threads: number;
  readonly datasetSize: number;
  readonly batchSize: number;
  readonly steps: number;
  readonly validates: boolean;
  readonly checkpointEverySteps: number | null;
  readonly checkpointEveryMinutes: number | null;
  readonly hashEverySteps: number;
  /** How long a compute thread works at a seat, and by which part longer it may take. */
  readonly seatMs: Millis;
  readonly computeJitter: number;
  readonly optimizerMs: Millis;
  /** From a worker's start to its hello, and from the hello to its being ready. */
  readonly startMs: Millis;
  readonly prepareMs: Millis;
  /** Bytes of the gradients; a state has three times as many. */
  readonly modelBytes: number;
  readonly buckets: number;
  readonly segmentBytes: number;
  /** The longest that a sum waits for its turn on a rank's main thread. */
  readonly sumMs: Millis;
  readonly latencyMs: Millis;
  readonly gbit: number;
  readonly networkJitter: number;
  /** How long the journal's disk takes to flush. */
  readonly flushMs: Millis;
  /** All processes run on one machine, whose coordinator knows which of them are dead. */
  readonly isLocal: boolean;
  /** Reductions advance in closed form, and heartbeats without a message each: for worlds of hundreds. */
  readonly isLarge: boolean;
}

export const smallWorld: WorldSettings = {
  seed: 1,
  ranks: 3,
  seats: 4,
  threads: 1,
  datasetSize: 150,
  batchSize: 32,
  steps: 12,
  validates: true,
  checkpointEverySteps: 4,
  checkpointEveryMinutes: null,
  hashEverySteps: 3,
  seatMs: 40,
  computeJitter: 0.3,
  optimizerMs: 2,
  startMs: 50,
  prepareMs: 200,
  modelBytes: 4096,
  buckets: 2,
  segmentBytes: 256,
  sumMs: 0.2,
  latencyMs: 0.5,
  gbit: 1,
  networkJitter: 1,
  flushMs: 5,
  isLocal: false,
  isLarge: false,
};

export const bytesPerMs = (gbit: number): number => (gbit * 1e9) / 8 / 1000;

/** So many seats' gradients fit a rank's memory: all of them, but in a world of hundreds. */
export const seatCapacity = ({ seats, ranks, isLarge }: WorldSettings): number =>
  isLarge ? Math.min(seats, 8 * Math.ceil(seats / ranks)) : seats;

const edge = 16;
/** Floats that the tail adds to the last bucket. */
const tailFloats = 16;

/** Step buckets 0 to B - 1, and one for evaluations. */
export function layoutOf({ seats, modelBytes, buckets, isLarge }: WorldSettings): BucketLayout {
  // In a large world all chunks are of one size, so that one step is as the next.
  const grain = isLarge ? edge * seats : edge;
  const floats = Math.max(grain, Math.ceil(modelBytes / 4 / buckets / grain) * grain) - (isLarge ? tailFloats : 0);
  const lengths = Array.from({ length: buckets }, (_, bucket) =>
    isLarge || bucket === buckets - 1 ? floats + tailFloats : floats,
  );
  // Fewer cache lines than most worlds have seats: some of its chunks are empty.
  lengths.push(3 * edge);
  let start = 0;
  const placed = lengths.map((length) => {
    const bucket = { start, length };
    start += length;
    return bucket;
  });
  return { seats, buckets: placed };
}

export function configOf(settings: WorldSettings): RunConfig {
  const { seed, batchSize, seats, steps, datasetSize, checkpointEverySteps, hashEverySteps, segmentBytes } = settings;
  return {
    name: "simulated",
    seed,
    batchSize,
    seats,
    epochs: Math.ceil(steps / Math.ceil(datasetSize / batchSize)),
    maxSteps: steps,
    optimizer: { kind: "adam", learningRate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
    precision: "float32",
    compiler: "grappler",
    bucketBytes: 2 ** 20,
    segmentBytes,
    validation: { count: settings.validates ? 100 : 0, blockSize: 50 },
    checkpoint: { everySteps: checkpointEverySteps, everyMinutes: settings.checkpointEveryMinutes, keep: 2 },
    hashEverySteps,
    onNotFinite: "stop",
    numerics: "any",
    backend: "auto",
    device: "auto",
    fastDevRun: false,
  };
}
