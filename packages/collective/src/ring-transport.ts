/**
 * The ring of one generation over WebSockets: carries out what the state machine of ring.ts says, and decides nothing itself.
 *
 * A link that ends is a fault, unless the peer left in order (close code 1000) and nothing more is needed from it: ranks hold the last
 * round of a generation at slightly different moments.
 */
import {
  type BulkMessage,
  bulkHeaderBytes,
  encodeRingHeader,
  maxSegmentBytes,
  ProtocolError,
  parseBulk,
  type RingMessage,
} from "@ringmaster/protocol";
import { arcOf } from "./arc.ts";
import { CollectiveError } from "./collective-error.ts";
import type { Link, LinkEnd, LinkHandlers } from "./link.ts";
import { numberPlaces, type Places } from "./places.ts";
import { checkReductionMemory, fold, parityOf, type ReductionMemory } from "./reduction-memory.ts";
import { createRing, type Ring, type RingOptions } from "./ring.ts";
import type { RingEffect, SendEffect, SumEffect } from "./ring-messages.ts";
import { nextRank, previousRank, worldSize } from "./schedule.ts";
import { loadSumKernels, type SumKernels } from "./sum-kernels.ts";
import { SumQueue } from "./sum-queue.ts";

export interface RingTransportOptions extends RingOptions {
  readonly generation: number;
  /** Seats' values and reduced values; they belong to the caller, who keeps them until the ring is closed or cut. */
  readonly memory: ReductionMemory;
  /** The round's reduced values are all here. Never called from inside `open` or `ready`. */
  onHeld(round: number): void;
  /** The ring is dead; called once at most. `peerRank` is the neighbour concerned, if any. Cut the ring and regroup. */
  onFault(error: CollectiveError, peerRank: number | undefined): void;
}

/** What a ring has done since it was opened. Bytes are those of payloads. */
export interface RingCounters {
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly sumMs: number;
}

/** One rank's end of a generation's ring. */
export interface RingTransport {
  /** Enters the round, once the one before is held. At least one of the buckets must have floats. */
  open(round: number, buckets: readonly number[]): void;
  /** The seat's values of the bucket are in its buffer and stay there until the round is held. */
  ready(round: number, bucket: number, seat: number): void;
  readonly counters: RingCounters;
  /** Leaves in order: what the neighbours still need is delivered first (10 s at most). No callbacks from here on. */
  close(): Promise<void>;
  /** Leaves at once, as for a regroup. No callbacks from here on. */
  cut(): void;
}

export class RankTransport implements RingTransport {
  readonly #ring: Ring;
  readonly #places: Places;
  readonly #kernels: SumKernels;
  readonly #options: RingTransportOptions;
  readonly #sums: SumQueue;
  readonly #previous: number;
  readonly #next: number;
  readonly counters = { bytesSent: 0, bytesReceived: 0, sumMs: 0 };
  #incoming: Link | undefined; // from the previous rank
  #outgoing: Link | undefined; // to the next rank
  #gone: number | undefined; // a neighbour that has left in order
  #isHolding = true; // no round is open, or the open one is held
  #stopped = false;

  constructor(options: RingTransportOptions) {
    this.#options = options;
    if (options.segmentFloats * 4 > maxSegmentBytes)
      throw new CollectiveError(
        "BAD_LAYOUT",
        `a segment has at most ${maxSegmentBytes / 4} floats, not ${options.segmentFloats}`,
      );
    this.#ring = createRing(options);
    checkReductionMemory(options.memory, options.layout, arcOf(options.rank, options.seating).seats);
    this.#places = numberPlaces(options.layout, options.segmentFloats);
    this.#kernels = loadSumKernels(options.memory.memory);
    this.#sums = new SumQueue((sum) => this.#sum(sum));
    const world = worldSize(options.seating);
    this.#previous = previousRank(options.rank, world);
    this.#next = nextRank(options.rank, world);
  }

  /** For the link from the previous rank. It may speak as soon as it stands: the ring takes partial sums before its first round. */
  readonly incomingHandlers: LinkHandlers = {
    message: (bytes) => this.#receive(bytes),
    ended: (end) => this.#ended(this.#previous, end, this.#isHolding),
  };

  readonly outgoingHandlers: LinkHandlers = {
    message: () => this.#ended(this.#next, { cause: "broken", detail: "a receiver sent a message" }, false),
    ended: (end) => this.#ended(this.#next, end, true), // until something is to be sent
  };

  connectIncoming(link: Link): void {
    this.#incoming = link;
  }

  connectOutgoing(link: Link): void {
    this.#outgoing = link;
  }

  open(round: number, buckets: readonly number[]): void {
    if (this.#stopped) return;
    this.#isHolding = false;
    if (this.#gone === undefined) this.#perform(this.#ring.handle({ type: "open", round, buckets }));
    else this.#lost(this.#gone, `rank ${this.#gone} left before round ${round}`);
  }

  ready(round: number, bucket: number, seat: number): void {
    if (!this.#stopped) this.#perform(this.#ring.handle({ type: "ready", round, bucket, seat }));
  }

  async close(): Promise<void> {
    this.#stop();
    await Promise.all([this.#incoming?.close(), this.#outgoing?.close()]);
  }

  cut(): void {
    this.#stop();
    this.#incoming?.cut();
    this.#outgoing?.cut();
  }

  #perform(effects: readonly RingEffect[]): void {
    for (const effect of effects) {
      if (effect.type === "sum") this.#sums.push(effect);
      else if (effect.type === "send") this.#send(effect);
      else if (effect.type === "held") this.#held(effect.round);
      else this.#fail(effect.code, effect.message, effect.code === "BAD_PEER" ? this.#previous : undefined);
    }
    this.#sums.work();
  }

  #sum(sum: SumEffect): void {
    if (this.#stopped) return;
    const { memory } = this.#options;
    const began = performance.now();
    const sources = sum.seats.map((seat) => memory.seatOffset(seat) + sum.start * 4);
    const out = memory.reducedOffset(parityOf(sum.round)) + sum.start * 4;
    fold(this.#kernels, out, sources, sum.onto, sum.end - sum.start);
    this.counters.sumMs += performance.now() - began;
    const { round, bucket, chunk, segment, visit } = sum;
    this.#perform(this.#ring.handle({ type: "summed", round, bucket, chunk, segment, visit }));
  }

  #send({ kind, round, bucket, chunk, segment, start, end }: SendEffect): void {
    if (this.#stopped) return;
    if (this.#gone === this.#next) {
      this.#lost(this.#next, `rank ${this.#next} left before round ${round} was over`);
      return;
    }
    const { generation } = this.#options;
    const payload = this.#view(round, start, end);
    const header = encodeRingHeader({ kind, generation, round, bucket, chunk, segment }, payload.length);
    this.#outgoing?.send(header, payload);
    this.counters.bytesSent += payload.length;
  }

  #held(round: number): void {
    this.#isHolding = true;
    queueMicrotask(() => {
      if (!this.#stopped) this.#options.onHeld(round);
    });
  }

  #receive(bytes: Uint8Array): void {
    if (this.#stopped) return;
    const message = this.#parse(bytes);
    if (message === undefined) return;
    const { kind, round, bucket, chunk, segment, payload } = message;
    const { start, end } = this.#places.range(bucket, chunk, segment);
    // The ring is asked first: what it does not expect must not touch values that may be in use.
    const effects = this.#ring.handle({ type: "received", kind, round, bucket, chunk, segment });
    if (effects[0]?.type !== "fault") this.#view(round, start, end).set(payload);
    this.counters.bytesReceived += payload.length;
    this.#perform(effects);
  }

  /** The message if it is a sum of this generation, as long as its place; else the ring fails. Whether it is expected, the ring says. */
  #parse(bytes: Uint8Array): RingMessage | undefined {
    let message: BulkMessage;
    try {
      message = parseBulk(bytes);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return this.#refuse(`${error.code}: ${error.message}`);
    }
    const { generation } = this.#options;
    if (message.kind === "state" || message.generation !== generation)
      return this.#refuse(
        `a ${message.kind} of generation ${message.generation}, expected sums of generation ${generation}`,
      );
    const { bucket, chunk, segment, payload } = message;
    const { start, end } = this.#places.range(bucket, chunk, segment);
    if (this.#places.find(bucket, chunk, segment) >= 0 && payload.length !== (end - start) * 4)
      return this.#refuse(
        `${payload.length} bytes for bucket ${bucket}, chunk ${chunk}, segment ${segment}, expected ${(end - start) * 4}`,
      );
    return message;
  }

  #refuse(what: string): undefined {
    this.#fail("BAD_PEER", `rank ${this.#previous} sent ${what}`, this.#previous);
  }

  /** Taken anew each time: the memory may have grown. */
  #view(round: number, start: number, end: number): Uint8Array {
    const { memory } = this.#options;
    return new Uint8Array(memory.memory.buffer, memory.reducedOffset(parityOf(round)) + start * 4, (end - start) * 4);
  }

  #ended(peer: number, { cause, detail }: LinkEnd, mayLeave: boolean): void {
    if (this.#stopped) return;
    if (cause === "broken") this.#fail("BAD_PEER", `rank ${peer}: ${detail}`, peer);
    else if (cause === "lost" || !mayLeave) this.#lost(peer, `the link with rank ${peer} is lost: ${detail}`);
    else this.#gone = peer;
  }

  #lost(peer: number, message: string): void {
    this.#fail("LINK_LOST", message, peer);
  }

  #fail(code: CollectiveError["code"], message: string, peer: number | undefined): void {
    if (this.#stopped) return;
    this.#stop();
    // Only the link in question is cut, so that the other neighbour does not report a link that is sound.
    if (peer === this.#previous) this.#incoming?.cut();
    if (peer === this.#next) this.#outgoing?.cut();
    const error = new CollectiveError(code, message, peer === undefined ? {} : { peerRank: peer });
    queueMicrotask(() => this.#options.onFault(error, peer));
  }

  #stop(): void {
    this.#stopped = true;
    this.#sums.clear();
  }
}

/** The largest message on a ring's links. */
export function maxRingMessageBytes(segmentFloats: number): number {
  return bulkHeaderBytes + segmentFloats * 4;
}
