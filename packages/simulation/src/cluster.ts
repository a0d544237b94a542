/** A cluster as a user describes it, and how long its steps take when nothing happens. */
import type { Millis } from "@ringmaster/protocol";
import { readyPart } from "./compute.ts";
import { headerBytes } from "./event-ring.ts";
import { reductionTimes } from "./reduction-times.ts";
import { bytesPerMs, layoutOf, smallWorld, type WorldSettings } from "./settings.ts";

export interface Cluster {
  readonly ranks: number;
  readonly seats: number;
  /** Forward and backward pass of a seat's samples on one rank. */
  readonly stepMs: Millis;
  /** Of the gradients. */
  readonly modelBytes: number;
  /** Of a link between two ranks. */
  readonly latencyMs: Millis;
  readonly gbit: number;
}

const bucketBytes = 25 * 2 ** 20;
/** Of a reduction that is computed once, and of one of a thousand ranks, of which hours are simulated: what is finer than this overlaps a little better. */
const mostBuckets = 8;
const mostRankBuckets = 2048;
const segmentBytes = 2 ** 18;

/** @param bucketsAtMost of the gradients, where they would be more */
export function settingsOf(
  { ranks, seats, stepMs, modelBytes, latencyMs, gbit }: Cluster,
  bucketsAtMost = mostBuckets,
): WorldSettings {
  return {
    ...smallWorld,
    ...{ ranks, seats, modelBytes, latencyMs, gbit, segmentBytes },
    seatMs: stepMs,
    optimizerMs: modelBytes / optimizerBytesPerMs,
    buckets: Math.min(bucketsAtMost, Math.max(1, Math.ceil(modelBytes / bucketBytes))),
    computeJitter: 0,
    networkJitter: 0,
    sumMs: 0,
    isLarge: true,
  };
}

/** So many buckets that hours of such a cluster are simulated in minutes. */
export const coarseBuckets = ({ ranks }: Cluster): number =>
  Math.min(mostBuckets, Math.max(1, Math.floor(mostRankBuckets / ranks)));

/** One pass over gradients, parameters and two slots, as `ringmaster bench optimizer` measures it on one core. */
const optimizerBytesPerMs = 3e6;

export interface StepTime {
  readonly totalMs: Millis;
  /** What of it is waiting for the ring: the reduction that no computing hides. */
  readonly waitMs: Millis;
  /** Payload that a rank sends in a step. */
  readonly bytesSent: number;
  /** What the ring takes for that by itself, with all gradients there from the beginning. */
  readonly wireMs: Millis;
}

/** Of a step in which all ranks begin at once. */
export function stepTime(cluster: Cluster, bucketsAtMost?: number): StepTime {
  const settings = settingsOf(cluster, bucketsAtMost);
  const { ranks, seats } = cluster;
  const { optimizerMs, latencyMs, gbit, buckets, seatMs } = settings;
  const most = Math.ceil(seats / ranks);
  const seating = Array.from({ length: seats }, (_, seat) => Math.floor((seat * ranks) / seats));
  const readyMs = seating.map((rank, seat) => {
    const place = seating.slice(0, seat).filter((each) => each === rank).length;
    return Array.from({ length: buckets }, (_, bucket) => seatMs * (place + readyPart(bucket, buckets)));
  });
  const computeMs = seatMs * most;
  const layout = layoutOf(settings);
  const inOrder = Array.from({ length: buckets }, (_, bucket) => bucket);
  if (ranks === 1) return { totalMs: computeMs + optimizerMs, waitMs: 0, bytesSent: 0, wireMs: 0 };
  const plan = {
    layout,
    seating,
    segmentFloats: segmentBytes / 4,
    latencyMs,
    bytesPerMs: bytesPerMs(gbit),
    headerBytes,
  };
  const reducedAfter = (ready: readonly (readonly Millis[])[]): Millis =>
    Math.max(...reductionTimes(plan, { buckets: inOrder, readyMs: ready }));
  const heldMs = reducedAfter(readyMs);
  const floats = layout.buckets.slice(0, buckets).reduce((sum, { length }) => sum + length, 0);
  return {
    totalMs: heldMs + optimizerMs,
    waitMs: heldMs - computeMs,
    bytesSent: (sentChunks(seating, ranks) / seats) * floats * 4,
    wireMs: reducedAfter(readyMs.map((times) => times.map(() => 0))),
  };
}

/** What no all-reduce can do without, of a rank: 2 (R - 1) / R of the gradients sent, at the link's full rate and without latency. */
export function wireOptimum({ ranks, modelBytes, gbit }: Cluster): { readonly bytes: number; readonly ms: Millis } {
  const bytes = ((2 * (ranks - 1)) / ranks) * modelBytes;
  return { bytes, ms: bytes / bytesPerMs(gbit) };
}

/** Chunks that all ranks together send on, a rank on average. */
function sentChunks(seating: readonly number[], ranks: number): number {
  const seats = seating.length;
  const cuts = seating.filter((rank, seat) => seating[(seat + 1) % seats] === rank).length;
  // A chunk makes W - 1 hops as a partial sum, one more where its fold begins and ends on one rank, and W - 1 as it is.
  return (2 * (ranks - 1) * seats + cuts) / ranks;
}
