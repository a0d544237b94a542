/**
 * A generation's ring whose reductions advance in closed form: once every rank has begun a round, and thus said when its seats will be ready, it is known when each
 * rank holds it. Steps that are alike share one answer, moved in time. Where something happens to a rank while a reduction is under way, that one is played again
 * up to there, to see who still holds it.
 */
import type { BucketLayout } from "@ringmaster/collective";
import type { Millis } from "@ringmaster/protocol";
import type { Reduced } from "./compute.ts";
import { addTails, type Content, noTail } from "./content.ts";
import { type Reduction, type ReductionPlan, reductionTimes } from "./reduction-times.ts";
import type { RankHandlers, RingPort } from "./ring-port.ts";
import type { Timer, VirtualTime } from "./virtual-time.ts";

export interface ClosedRingOptions {
  readonly time: VirtualTime;
  readonly content: Content;
  readonly layout: BucketLayout;
  readonly plan: Omit<ReductionPlan, "seating" | "layout">;
  readonly seating: readonly number[];
  readonly world: number;
  readonly known: KnownTimes;
}

interface Rank extends RankHandlers {
  stopMs: Millis;
}

interface Round {
  readonly number: number;
  readonly buckets: readonly number[];
  /** [seat][index into buckets] */
  readonly readyMs: Millis[][];
  missing: number;
  timers: (Timer | undefined)[];
  reduced: Reduced | undefined;
}

const keepAliveMs = 4000;
const connectTimeoutMs = 10_000;

export class ClosedRing {
  readonly #options: ClosedRingOptions;
  readonly #ranks: (Rank | undefined)[];
  readonly #evaluationBucket: number;
  #round: Round | undefined;
  /** Some ranks may still be at it. */
  #previous: Round | undefined;
  #isBroken = false;
  readonly #ports: RingPort[] = [];
  #entered = 0;

  constructor(options: ClosedRingOptions) {
    this.#options = options;
    this.#ranks = new Array<Rank | undefined>(options.world).fill(undefined);
    this.#evaluationBucket = options.layout.buckets.length - 1;
  }

  enter(rank: number, handlers: RankHandlers): RingPort {
    const entered: Rank = { ...handlers, stopMs: Number.POSITIVE_INFINITY };
    this.#ranks[rank] = entered;
    const { process } = handlers.node;
    const isIn = () => this.#ranks[rank] === entered && entered.stopMs === Number.POSITIVE_INFINITY;
    process.onDeath(() => {
      if (isIn()) this.#stops(rank, this.#options.plan.latencyMs, () => true);
    });
    process.onPause(() => {
      const sinceMs = this.#options.time.nowMs;
      if (isIn()) this.#stops(rank, keepAliveMs, () => process.pausedMs === sinceMs);
    });
    process.after(connectTimeoutMs, () => {
      const missing = this.#neighbours(rank).find((neighbour) => this.#ranks[neighbour] === undefined);
      if (isIn() && missing !== undefined) handlers.lost(missing, "no link in time");
    });
    const leave = () => {
      if (isIn()) entered.stopMs = this.#options.time.nowMs;
      for (const round of [this.#previous, this.#round]) round?.timers[rank]?.cancel();
    };
    const port = {
      open: (round: number, buckets: readonly number[]) => this.#open(round, buckets),
      ready: () => {},
      expected: (seat: number, bucketsMs: readonly Millis[]) => this.#expected(seat, bucketsMs),
      close: leave,
      cut: leave,
    };
    this.#ports[rank] = port;
    if (++this.#entered === this.#ranks.length) this.#stands();
    return port;
  }

  /** For all at one moment, so that one step is as the next: when the last rank has come and has dialled. */
  #stands(): void {
    const { time, plan } = this.#options;
    time.after(2 * plan.latencyMs, () => {
      for (const [rank, entered] of this.#ranks.entries()) {
        const port = this.#ports[rank];
        if (entered && port) entered.node.process.receive(() => entered.opened(port));
      }
    });
  }

  /** The connection between a worker and the next rank is gone. */
  breakLink(node: RankHandlers["node"]): void {
    const rank = this.#ranks.findIndex((each) => each?.node === node);
    if (rank < 0 || this.#ranks[rank]?.stopMs !== Number.POSITIVE_INFINITY) return;
    const [, next = 0] = this.#neighbours(rank);
    this.#stops(rank, 0, () => true);
    this.#ranks[rank]?.lost(next, "connection reset");
  }

  #open(number: number, buckets: readonly number[]): void {
    if (this.#round?.number === number) return;
    const { seating } = this.#options;
    this.#previous = this.#round;
    this.#round = {
      number,
      buckets,
      readyMs: Array.from({ length: seating.length }, () => []),
      missing: seating.length,
      timers: [],
      reduced: undefined,
    };
  }

  #expected(seat: number, bucketsMs: readonly Millis[]): void {
    const round = this.#round;
    if (!round || this.#isBroken) return;
    round.readyMs[seat] = [...bucketsMs];
    round.missing--;
    if (round.missing === 0) this.#schedule(round, undefined);
  }

  #schedule(round: Round, stop: Reduction["stop"]): void {
    const { time, layout, plan, seating, known } = this.#options;
    const { buckets, readyMs } = round;
    const times = known.of({ ...plan, layout, seating }, { buckets, readyMs, stop });
    for (const timer of round.timers) timer?.cancel();
    round.timers = this.#ranks.map((rank, index) => {
      const atMs = times[index] ?? Number.POSITIVE_INFINITY;
      if (!rank || atMs === Number.POSITIVE_INFINITY || atMs <= time.nowMs) return undefined;
      return time.at(atMs, () => rank.node.process.receive(() => rank.held(round.number, this.#reduced(round))));
    });
  }

  /** Something happens to a rank: who needs it for the round under way does not hold it. */
  #stops(rank: number, hearMs: Millis, isStillSo: () => boolean): void {
    const { time } = this.#options;
    const stopped = this.#ranks[rank];
    const atMs = time.nowMs;
    for (const round of this.#isBroken ? [] : [this.#previous, this.#round])
      if (round?.missing === 0 && round.timers.some((timer) => timer?.isDue))
        this.#schedule(round, { rank, atMs, hearMs });
    this.#isBroken = true;
    if (stopped) stopped.stopMs = Math.min(stopped.stopMs, atMs);
    time.after(hearMs, () => {
      if (!isStillSo()) return;
      for (const neighbour of this.#neighbours(rank)) {
        const heard = this.#ranks[neighbour];
        heard?.node.process.receive(() => heard.lost(rank, "the peer is gone"));
      }
    });
  }

  /** The previous and the next rank. */
  #neighbours(rank: number): number[] {
    const { world } = this.#options;
    return [(rank + world - 1) % world, (rank + 1) % world];
  }

  /** Read when the first rank holds it: no seat is computed anew before. */
  #reduced(round: Round): Reduced {
    if (round.reduced) return round.reduced;
    const { content, seating } = this.#options;
    const buffers = seating.map((rank, seat) => this.#ranks[rank]?.node.compute.buffer(seat));
    const isEvaluation = round.buckets[0] === this.#evaluationBucket;
    const parts = buffers.map((buffer) => (isEvaluation ? buffer?.evaluation : buffer?.gradient) ?? 0);
    const tail = buffers.reduce((sum, buffer) => addTails(sum, buffer?.tail ?? noTail), noTail);
    round.reduced = { sum: content.reduce(parts), tail };
    return round.reduced;
  }
}

/**
 * Steps whose seats become ready in the same rhythm, to the microsecond, take the same time. Where each rank has one seat, and all chunks have one size, the ring
 * looks the same from every rank: then a rhythm is known wherever in the ring it begins. (A rank that is ahead once makes its neighbour so in the next step.)
 */
export class KnownTimes {
  readonly #known = new Map<string, Float64Array>();

  of(plan: ReductionPlan, { buckets, readyMs, stop }: Reduction): Float64Array {
    if (stop) return reductionTimes(plan, { buckets, readyMs, stop });
    const firstMs = readyMs.reduce((least, ofSeat) => Math.min(least, ...ofSeat), Number.POSITIVE_INFINITY);
    const rhythms = readyMs.map((ofSeat) =>
      ofSeat.reduce((rhythm, atMs) => (Math.imul(rhythm, 31) + Math.round((atMs - firstMs) * 1e3)) | 0, 0),
    );
    const turn = isEven(plan.seating) ? firstOfItsKind(rhythms) : 0;
    const rhythm = turned(rhythms, turn).reduce((sum, each) => (Math.imul(sum, 31) + each) | 0, 0);
    const key = `${buckets.join()} ${rhythm} ${plan.seating.join()}`;
    let relative = this.#known.get(key);
    if (!relative) {
      const shifted = turned(readyMs, turn).map((ofSeat) => ofSeat.map((atMs) => atMs - firstMs));
      relative = reductionTimes(plan, { buckets, readyMs: shifted });
      if (this.#known.size > 100) this.#known.clear();
      this.#known.set(key, relative);
    }
    const ranks = relative.length;
    return relative.map((_, rank) => firstMs + (relative[(rank - turn + ranks) % ranks] ?? 0));
  }
}

const isEven = (seating: readonly number[]): boolean => seating.every((rank, seat) => rank === seat);

const turned = <T>(items: readonly T[], by: number): T[] => [...items.slice(by), ...items.slice(0, by)];

/** Where to begin, so that what is alike but for a turn begins alike. */
function firstOfItsKind(rhythms: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const rhythm of rhythms) counts.set(rhythm, (counts.get(rhythm) ?? 0) + 1);
  return Math.max(
    0,
    rhythms.findIndex((rhythm) => counts.get(rhythm) === 1),
  );
}
