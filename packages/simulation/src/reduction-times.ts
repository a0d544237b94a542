/**
 * When each rank holds a round of the ring: the schedule of packages/collective's ring.ts played over links alone, without values, messages or state machines, in
 * arrays. It gives the times that playing event by event gives (the tests compare them), some hundred times faster.
 *
 * A link sends one message after another, in the order in which they were handed to it, and each arrives a latency after it has left. So what comes over a link
 * comes in order too: a heap over links, by what arrives next on each, is all the bookkeeping there is. Sums take no time.
 */
import { type BucketLayout, chunkRange, segmentsOf, worldSize } from "@ringmaster/collective";
import type { Millis } from "@ringmaster/protocol";

export interface ReductionPlan {
  readonly layout: BucketLayout;
  readonly seating: readonly number[];
  readonly segmentFloats: number;
  readonly latencyMs: Millis;
  readonly bytesPerMs: number;
  /** Beside its floats, each message has so many bytes. */
  readonly headerBytes: number;
}

export interface Reduction {
  readonly buckets: readonly number[];
  /** [seat][index into buckets] */
  readonly readyMs: readonly (readonly Millis[])[];
  /** A rank that does nothing any more from then on; its neighbours hear of it `hearMs` later. */
  readonly stop?: { readonly rank: number; readonly atMs: Millis; readonly hearMs: Millis } | undefined;
}

/** @returns [rank]: when it holds the round; infinity where it never does */
export function reductionTimes(plan: ReductionPlan, { buckets, readyMs, stop }: Reduction): Float64Array {
  const { layout, seating, segmentFloats, latencyMs, bytesPerMs, headerBytes } = plan;
  const seats = seating.length;
  const world = worldSize(seating);
  const arcs = arcsOf(seating, world);
  const heldMs = new Float64Array(world).fill(Number.POSITIVE_INFINITY);

  // Places of the round: [bucket][chunk][segment].
  const firstPlace = new Int32Array(buckets.length * seats + 1);
  const bytes: number[] = [];
  for (const [index, bucket] of buckets.entries())
    for (let chunk = 0; chunk < seats; chunk++) {
      firstPlace[index * seats + chunk] = bytes.length;
      const { start, end } = chunkRange(layout.buckets[bucket]?.length ?? 0, chunk, seats);
      for (let segment = 0; segment < segmentsOf(end - start, segmentFloats); segment++)
        bytes.push(
          headerBytes + 4 * (Math.min(end, start + (segment + 1) * segmentFloats) - start - segment * segmentFloats),
        );
    }
  const places = bytes.length;
  firstPlace[buckets.length * seats] = places;
  const placeBucket = new Int32Array(places);
  const placeChunk = new Int32Array(places);
  for (let pair = 0; pair < buckets.length * seats; pair++)
    for (let place = firstPlace[pair] ?? 0; place < (firstPlace[pair + 1] ?? 0); place++) {
      placeBucket[place] = Math.floor(pair / seats);
      placeChunk[place] = pair % seats;
    }

  const left = new Int32Array(world).fill(places);
  const waits = new Uint8Array(world * places); // a partial that has arrived before its seats are ready
  const given = new Uint8Array(seats * buckets.length);
  const head = new Int32Array(world * buckets.length);
  const tail = new Int32Array(world * buckets.length);
  const links = new Links(world);
  const linkFreeMs = new Float64Array(world);

  /** Rank `rank` hands a message to its link. */
  const send = (rank: number, place: number, isComplete: boolean, nowMs: Millis) => {
    const leftMs = Math.max(linkFreeMs[rank] ?? 0, nowMs) + (bytes[place] ?? 0) / bytesPerMs;
    linkFreeMs[rank] = leftMs;
    if (rank === stop?.rank && leftMs > stop.atMs) return;
    links.push((rank + 1) % world, leftMs + latencyMs, isComplete ? places + place : place);
  };
  const complete = (rank: number, place: number, nowMs: Millis) => {
    left[rank] = (left[rank] ?? 0) - 1;
    if (seating[placeChunk[place] ?? 0] !== (rank + 1) % world) send(rank, place, true, nowMs);
    if (left[rank] === 0) heldMs[rank] = nowMs;
  };
  /** The visit of a rank to a place is summed. */
  const visited = (rank: number, place: number, isFirstOfTwo: boolean, nowMs: Millis) => {
    if (!isFirstOfTwo && seating[placeChunk[place] ?? 0] === rank) complete(rank, place, nowMs);
    else send(rank, place, false, nowMs);
  };
  const isCut = (rank: number, chunk: number) => {
    const { start, length } = arcs[rank] ?? noArc;
    return world > 1 && (chunk - start + seats) % seats < length - 1;
  };
  const visit = (rank: number, index: number, chunk: number, kind: "whole" | "opening" | "returned", nowMs: Millis) => {
    const pair = index * seats + chunk;
    const isOpener = kind === "whole" && (seating[(chunk + 1) % seats] ?? 0) === rank;
    for (let place = firstPlace[pair] ?? 0; place < (firstPlace[pair + 1] ?? 0); place++) {
      if (kind !== "opening" && !isOpener) {
        if (waits[rank * places + place] !== 1) continue;
        waits[rank * places + place] = 0;
      }
      visited(rank, place, kind === "opening", nowMs);
    }
  };
  const give = (seat: number, index: number, nowMs: Millis) => {
    const rank = seating[seat] ?? 0;
    const { start, length } = arcs[rank] ?? noArc;
    const at = rank * buckets.length + index;
    const headBefore = head[at] ?? 0;
    const tailBefore = tail[at] ?? 0;
    given[seat * buckets.length + index] = 1;
    const isGiven = (position: number) => given[((start + position) % seats) * buckets.length + index] === 1;
    let headNow = headBefore;
    while (headNow < length && isGiven(headNow)) headNow++;
    let tailNow = tailBefore;
    while (tailNow < length && isGiven(length - 1 - tailNow)) tailNow++;
    head[at] = headNow;
    tail[at] = tailNow;
    const last = length - 1;
    for (let position = Math.max(0, last - tailBefore) - 1; position >= Math.max(0, last - tailNow); position--)
      visit(rank, index, (start + position) % seats, "opening", nowMs);
    for (let position = headBefore; position < Math.min(last, headNow); position++)
      visit(rank, index, (start + position) % seats, "returned", nowMs);
    if (headNow < length) return;
    for (let k = 0; k <= seats - length; k++) visit(rank, index, (start - 1 - k + 2 * seats) % seats, "whole", nowMs);
  };
  const arrive = (rank: number, message: number, nowMs: Millis) => {
    if (message >= places) return complete(rank, message - places, nowMs);
    const chunk = placeChunk[message] ?? 0;
    const index = placeBucket[message] ?? 0;
    const { start, length } = arcs[rank] ?? noArc;
    const needed = isCut(rank, chunk) ? ((chunk - start + seats) % seats) + 1 : length;
    if ((head[rank * buckets.length + index] ?? 0) >= needed) visited(rank, message, false, nowMs);
    else waits[rank * places + message] = 1;
  };

  const gives = readyMs
    .flatMap((ofSeat, seat) => ofSeat.map((atMs, index) => ({ atMs, seat, index })))
    .sort((a, b) => a.atMs - b.atMs || a.index - b.index);
  const isNeighbour = (rank: number) => stop && (rank - stop.rank + world + 1) % world <= 2 && rank !== stop.rank;
  const hasStopped = (rank: number, nowMs: Millis) => {
    if (!stop || nowMs <= stop.atMs) return false;
    // What a neighbour has handed to its link by then still leaves.
    return rank === stop.rank || (isNeighbour(rank) && nowMs > stop.atMs + stop.hearMs);
  };
  for (let next = 0; ; ) {
    const ready = gives[next];
    const arrivalMs = links.nextMs;
    if (ready && ready.atMs <= arrivalMs) {
      next++;
      if (!hasStopped(seating[ready.seat] ?? 0, ready.atMs)) give(ready.seat, ready.index, ready.atMs);
    } else if (arrivalMs < Number.POSITIVE_INFINITY) {
      const rank = links.nextRank;
      const message = links.take();
      if (!hasStopped(rank, arrivalMs)) arrive(rank, message, arrivalMs);
    } else return heldMs;
  }
}

interface ArcRange {
  readonly start: number;
  readonly length: number;
}

const noArc: ArcRange = { start: 0, length: 0 };

function arcsOf(seating: readonly number[], world: number): ArcRange[] {
  const seats = seating.length;
  return Array.from({ length: world }, (_, rank) => {
    const length = seating.filter((each) => each === rank).length;
    const first = seating.findIndex((each, seat) => each === rank && seating[(seat + seats - 1) % seats] !== rank);
    return { start: world === 1 ? 0 : first, length };
  });
}

/** What is on its way over each link, first in first out, and a heap of the links by when their next message arrives. */
class Links {
  readonly #queues: readonly Queue[];
  /** Side by side: when the next message of a link arrives, and whose link it is. */
  readonly #heapMs: Float64Array;
  readonly #heapRanks: Int32Array;
  #size = 0;

  constructor(count: number) {
    this.#queues = Array.from({ length: count }, () => new Queue());
    this.#heapMs = new Float64Array(count);
    this.#heapRanks = new Int32Array(count);
  }

  get nextMs(): Millis {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : (this.#heapMs[0] ?? 0);
  }

  get nextRank(): number {
    return this.#heapRanks[0] ?? 0;
  }

  push(rank: number, atMs: Millis, message: number): void {
    const queue = this.#queues[rank];
    if (!queue) return;
    queue.push(atMs, message);
    if (queue.length === 1) this.#rise(this.#size++, atMs, rank);
  }

  take(): number {
    const rank = this.nextRank;
    const queue = this.#queues[rank];
    const message = queue?.take() ?? 0;
    if (queue && queue.length > 0) this.#settle(queue.nextMs, rank);
    else {
      this.#size--;
      if (this.#size > 0) this.#settle(this.#heapMs[this.#size] ?? 0, this.#heapRanks[this.#size] ?? 0);
    }
    return message;
  }

  #rise(from: number, atMs: Millis, rank: number): void {
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((this.#heapMs[parent] ?? 0) <= atMs) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#put(at, atMs, rank);
  }

  #settle(atMs: Millis, rank: number): void {
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && (this.#heapMs[child + 1] ?? 0) < (this.#heapMs[child] ?? 0)) child++;
      if (atMs <= (this.#heapMs[child] ?? 0)) break;
      this.#move(child, at);
      at = child;
    }
    this.#put(at, atMs, rank);
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#heapMs[from] ?? 0, this.#heapRanks[from] ?? 0);
  }

  #put(at: number, atMs: Millis, rank: number): void {
    this.#heapMs[at] = atMs;
    this.#heapRanks[at] = rank;
  }
}

/** First in, first out; few are on their way at once. */
class Queue {
  #timesMs = new Float64Array(8);
  #messages = new Int32Array(8);
  #first = 0;
  length = 0;

  get nextMs(): Millis {
    return this.#timesMs[this.#first] ?? 0;
  }

  push(atMs: Millis, message: number): void {
    const size = this.#timesMs.length;
    if (this.length === size) this.#grow();
    const at = (this.#first + this.length++) & (this.#timesMs.length - 1);
    this.#timesMs[at] = atMs;
    this.#messages[at] = message;
  }

  take(): number {
    const message = this.#messages[this.#first] ?? 0;
    this.#first = (this.#first + 1) & (this.#timesMs.length - 1);
    this.length--;
    return message;
  }

  #grow(): void {
    const size = this.#timesMs.length;
    const timesMs = new Float64Array(2 * size);
    const messages = new Int32Array(2 * size);
    for (let k = 0; k < size; k++) {
      const at = (this.#first + k) & (size - 1);
      timesMs[k] = this.#timesMs[at] ?? 0;
      messages[k] = this.#messages[at] ?? 0;
    }
    this.#timesMs = timesMs;
    this.#messages = messages;
    this.#first = 0;
  }
}
