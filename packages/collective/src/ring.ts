/**
 * The ring all-reduce of one rank, as a state machine without I/O or clock.
 *
 * Theory of operation
 *
 * Rounds 0, 1, 2, ... each reduce some buckets of the layout. Every (bucket, chunk, segment) is a place, which exists twice: rounds of even
 * and of odd number have a reduction buffer each. A rank visits a chunk once, or twice where it has the chunk's first and last visit
 * (schedule.ts); place-states.ts lists what a place goes through. A sum is asked for once the seats of the visit are ready and (but for a
 * first visit) the partial sum is here, whichever is later. A complete segment goes on to the next rank unless that one completed it: once
 * round, W - 1 sends.
 *
 * Held. A chunk's complete segment contains every seat. A rank gives its seats to round r + 1 only after it holds r (`open` insists), so
 * who holds r + 1, or has begun r + 2, knows that all ranks hold r. A round must reduce at least one float, or this would not follow.
 *
 * Why places may be used again at r + 2. The first write to a place of r + 2 is a sum of this rank, which has then opened r + 2, or a
 * partial from a rank which has. Either holds r + 1, so every rank had opened r + 1 and thus holds r: all that this rank sent in r has been
 * received (no view of the place waits in a send queue), and nothing of r is still to come. The values of r can be read here until this
 * rank has given its last seat to r + 1. Within a round it is the same: what comes back to a place was caused by what left it.
 *
 * Hence only the open round r, or r + 1 early, can come from a correct peer; early, only a partial for a single visit: all else contains
 * seats of this rank.
 *
 * Why it cannot deadlock. Receiving needs a place and nothing else, and each message has its own: it never waits for seats, for sums or for
 * sending. So sends end too, and what is left to wait for is a chain without a loop: a sum waits for its own seats and for the sum before
 * it in fold order; a complete segment for the last sum, then for the rank before. Once all seats are given, all is complete.
 */
import { type Arc, arcOf } from "./arc.ts";
import { CollectiveError } from "./collective-error.ts";
import { type BucketLayout, checkLayout, type FloatRange } from "./layout.ts";
import { arrived, complete, idle, opening, passedOn, returning, summing } from "./place-states.ts";
import { numberPlaces, type Places } from "./places.ts";
import { Readiness } from "./readiness.ts";
import { describePlace, faultEffect, sendEffect, sumEffect } from "./ring-effects.ts";
import type { Place, RingEffect, RingInput, SumKind } from "./ring-messages.ts";
import { checkSeating, type Seating } from "./schedule.ts";

export interface RingOptions {
  readonly rank: number;
  readonly seating: Seating;
  readonly layout: BucketLayout;
  /** The most floats in a message; may differ between runs, not between the ranks of a world. */
  readonly segmentFloats: number;
}

export interface Ring {
  /** Answers every input; after a fault with nothing. */
  handle(input: RingInput): readonly RingEffect[];
}

/** @throws CollectiveError `BAD_SEATING`, `BAD_LAYOUT` */
export function createRing(options: RingOptions): Ring {
  checkSeating(options.seating);
  checkLayout(options.layout);
  const { seating, layout } = options;
  if (seating.length !== layout.seats)
    throw new CollectiveError(
      "BAD_SEATING",
      `the layout is cut for ${layout.seats} seats, but ${seating.length} are seated`,
    );
  return new RankRing(options);
}

class RankRing implements Ring {
  readonly #arc: Arc;
  readonly #places: Places;
  readonly #ready: Readiness;
  readonly #states: readonly [Uint8Array, Uint8Array]; // by parity of the round, [places]
  readonly #inRound: Uint8Array; // [buckets]
  readonly #early: Uint32Array; // [buckets]: partials of the next round that are here
  #round = -1;
  #left = 0; // places of the round that are not complete here
  #faulted = false;

  constructor({ rank, seating, layout, segmentFloats }: RingOptions) {
    const buckets = layout.buckets.length;
    this.#arc = arcOf(rank, seating);
    this.#places = numberPlaces(layout, segmentFloats);
    this.#ready = new Readiness(buckets, this.#arc.seats.length);
    this.#states = [new Uint8Array(this.#places.count), new Uint8Array(this.#places.count)];
    this.#inRound = new Uint8Array(buckets);
    this.#early = new Uint32Array(buckets);
  }

  handle(input: RingInput): readonly RingEffect[] {
    if (this.#faulted) return [];
    switch (input.type) {
      case "open":
        return this.#open(input.round, input.buckets);
      case "ready":
        return this.#give(input.round, input.bucket, input.seat);
      case "received":
        return input.kind === "partial" ? this.#receivePartial(input) : this.#receiveComplete(input);
      case "summed":
        return this.#summed(input, input.visit);
    }
  }

  #open(round: number, buckets: readonly number[]): RingEffect[] {
    if (round !== this.#round + 1) return this.#misuse(`round ${round} cannot be opened after round ${this.#round}`);
    if (this.#left > 0) return this.#misuse(`round ${round} cannot be opened before round ${this.#round} is held`);
    this.#inRound.fill(0);
    for (const bucket of buckets) {
      if (this.#inRound[bucket] !== 0)
        return this.#misuse(`bucket ${bucket} of round ${round} is unknown or given twice`);
      this.#inRound[bucket] = 1;
      this.#left += this.#places.countIn(bucket);
    }
    if (this.#left === 0) return this.#misuse(`round ${round} reduces nothing; a round needs at least one float`);
    const stray = this.#early.findIndex((count, bucket) => count > 0 && this.#inRound[bucket] === 0);
    if (stray >= 0)
      return this.#badPeer(`partials of bucket ${stray} came for round ${round}, which does not reduce it`);
    this.#round = round;
    this.#ready.reset();
    this.#early.fill(0);
    this.#statesOf(round + 1).fill(idle); // the round before is held: its places are free for the next
    return [];
  }

  #give(round: number, bucket: number, seat: number): RingEffect[] {
    const name = `seat ${seat} is ready with bucket ${bucket} of round ${round}`;
    if (round !== this.#round) return this.#misuse(`${name}, but the open round is ${this.#round}`);
    if (this.#inRound[bucket] !== 1) return this.#misuse(`${name}, but the round does not reduce it`);
    const position = this.#arc.positionOf(seat);
    if (position < 0) return this.#misuse(`${name}, but it is not a seat of this rank`);
    const head = this.#ready.head(bucket);
    const tail = this.#ready.tail(bucket);
    if (!this.#ready.give(bucket, position)) return this.#misuse(`${name}, for the second time`);

    const { seats, world, wholeChunks } = this.#arc;
    const effects: RingEffect[] = [];
    if (world > 1) {
      // The chunk of any of the arc's seats but the last cuts the arc: its first visit needs the seats after that one, its last visit those
      // up to it.
      const last = seats.length - 1;
      const opened = seats.slice(Math.max(0, last - this.#ready.tail(bucket)), Math.max(0, last - tail)).reverse();
      for (const chunk of opened) this.#startVisit(effects, bucket, chunk, 0, idle, opening);
      const returned = seats.slice(head, Math.min(last, this.#ready.head(bucket)));
      for (const chunk of returned) this.#startVisit(effects, bucket, chunk, world, arrived, summing);
    }
    if (this.#ready.all(bucket))
      for (const chunk of wholeChunks) {
        const visit = this.#arc.lastVisit(chunk);
        this.#startVisit(effects, bucket, chunk, visit, visit === 0 ? idle : arrived, summing);
      }
    return effects;
  }

  /** Asks for the sums of a visit whose seats are ready now, in those segments that are as far as `from`. */
  #startVisit(effects: RingEffect[], bucket: number, chunk: number, visit: number, from: number, to: number): void {
    const segments = this.#places.segmentsIn(bucket, chunk);
    if (segments === 0) return;
    const states = this.#statesOf(this.#round);
    const seats = this.#arc.visitSeats(chunk, visit);
    const first = this.#places.find(bucket, chunk, 0);
    for (let segment = 0; segment < segments; segment++)
      if (states[first + segment] === from) {
        states[first + segment] = to;
        const range = this.#places.range(bucket, chunk, segment);
        effects.push(sumEffect({ round: this.#round, bucket, chunk, segment }, range, visit, seats));
      }
  }

  #receivePartial(at: Place): RingEffect[] {
    const { round, bucket, chunk } = at;
    const place = this.#placeOf(at);
    const states = this.#statesOf(round);
    const visit = this.#arc.lastVisit(chunk);
    const expected = this.#arc.isCut(chunk) ? returning : idle;
    if (place < 0 || visit === 0 || states[place] !== expected) return this.#unexpected("partial", at);
    states[place] = arrived;
    if (round > this.#round) {
      this.#early[bucket] = (this.#early[bucket] ?? 0) + 1;
      return [];
    }
    if (!this.#isReady(bucket, chunk)) return [];
    states[place] = summing;
    return [sumEffect(at, this.#rangeOf(at), visit, this.#arc.visitSeats(chunk, visit))];
  }

  /** Whether the seats of this rank's only or last visit to the chunk are ready. */
  #isReady(bucket: number, chunk: number): boolean {
    if (!this.#arc.isCut(chunk)) return this.#ready.all(bucket);
    return this.#ready.head(bucket) > this.#arc.positionOf(chunk);
  }

  #receiveComplete(at: Place): RingEffect[] {
    const place = this.#placeOf(at);
    if (place < 0 || this.#statesOf(at.round)[place] !== passedOn) return this.#unexpected("complete", at);
    return this.#complete(at, place);
  }

  #summed(at: Place, visit: number): RingEffect[] {
    const place = at.round === this.#round ? this.#placeOf(at) : -1;
    const states = this.#statesOf(this.#round);
    const state = place < 0 ? idle : states[place];
    const isFirst = state === opening && visit === 0;
    if (!isFirst && !(state === summing && visit === this.#arc.lastVisit(at.chunk)))
      return this.#misuse(`no sum of visit ${visit} was asked for in ${describePlace(at)}`);
    if (!isFirst && this.#arc.completes(at.chunk)) return this.#complete(at, place);
    states[place] = isFirst ? returning : passedOn;
    return [sendEffect("partial", at, this.#rangeOf(at))];
  }

  #complete(at: Place, place: number): RingEffect[] {
    this.#statesOf(at.round)[place] = complete;
    this.#left--;
    const effects: RingEffect[] = [];
    if (this.#arc.passesComplete(at.chunk)) effects.push(sendEffect("complete", at, this.#rangeOf(at)));
    if (this.#left === 0) effects.push({ type: "held", round: at.round });
    return effects;
  }

  #statesOf(round: number): Uint8Array {
    return this.#states[round % 2 === 0 ? 0 : 1];
  }

  #rangeOf({ bucket, chunk, segment }: Place): FloatRange {
    return this.#places.range(bucket, chunk, segment);
  }

  /** The number of a place that may be spoken of now, or -1. */
  #placeOf({ round, bucket, chunk, segment }: Place): number {
    const isKnown = round === this.#round ? this.#inRound[bucket] === 1 : round === this.#round + 1;
    return isKnown ? this.#places.find(bucket, chunk, segment) : -1;
  }

  #unexpected(kind: SumKind, at: Place): RingEffect[] {
    const where = `${describePlace(at)}, while round ${this.#round} is open`;
    return this.#badPeer(
      `a ${kind} came for ${where}: no such segment, twice, not its turn, or meant for another rank`,
    );
  }

  #badPeer(message: string): RingEffect[] {
    this.#faulted = true;
    return [faultEffect("BAD_PEER", `rank ${this.#arc.rank}: ${message}`)];
  }

  #misuse(message: string): RingEffect[] {
    this.#faulted = true;
    return [faultEffect("MISUSE", `rank ${this.#arc.rank}: ${message}`)];
  }
}
