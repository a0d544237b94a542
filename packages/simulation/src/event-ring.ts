/**
 * A rank's ring, event by event: the real state machine, over simulated links and memory. Every place holds a number, which is read when it leaves and when it is
 * summed; at the end all of them are compared with what the fold must come to.
 */
import {
  type BucketLayout,
  chunkRange,
  createRing,
  type Place,
  parityOf,
  type Ring,
  type RingEffect,
  segmentsOf,
} from "@ringmaster/collective";
import type { Millis } from "@ringmaster/protocol";
import type { SimulatedCompute } from "./compute.ts";
import { addTails, type Content, noTail, type Tail } from "./content.ts";
import type { End } from "./network.ts";
import type { Process } from "./process.ts";
import type { Random } from "./random.ts";
import type { RingPort } from "./ring-port.ts";

export interface RingMessage extends Place {
  readonly type: "ring";
  readonly kind: "partial" | "complete";
  readonly value: number;
  readonly tail: Tail;
}

/** What lies in a place at the round's end. */
export interface PlaceSum {
  readonly bucket: number;
  readonly chunk: number;
  readonly segment: number;
  readonly value: number;
}

export interface EventRingOptions {
  readonly process: Process;
  readonly random: Random;
  readonly sumMs: Millis;
  readonly content: Content;
  readonly compute: SimulatedCompute;
  readonly layout: BucketLayout;
  readonly segmentFloats: number;
  readonly rank: number;
  readonly seating: readonly number[];
  readonly onHeld: (round: number, sums: readonly PlaceSum[], tail: Tail) => void;
  /** `neighbour`: which of the two is concerned. */
  readonly onFault: (neighbour: "previous" | "next", message: string) => void;
  /** What must not happen. */
  readonly onWrong: (message: string) => void;
}

/** Beside its floats, each message of the ring has so many bytes. */
export const headerBytes = 32;
const orderly = "orderly";

interface Memory {
  readonly values: Float64Array; // [places]
  tail: Tail;
}

export class EventRing implements RingPort {
  readonly #options: EventRingOptions;
  readonly #ring: Ring;
  readonly #memory: readonly [Memory, Memory];
  /** Segments that a chunk has at most. */
  readonly #segments: number;
  /** Where the tail lies: the last place of the last step bucket. */
  readonly #tailPlace: number;
  readonly #evaluationBucket: number;
  #buckets: readonly number[] = [];
  #incoming: End<RingMessage> | undefined;
  #outgoing: End<RingMessage> | undefined;
  #gone: "previous" | "next" | undefined;
  #isHolding = true;
  #isStopped = false;
  /** In the order in which they were asked for. */
  readonly #sums: Extract<RingEffect, { type: "sum" }>[] = [];

  constructor(options: EventRingOptions) {
    this.#options = options;
    const { layout, segmentFloats, rank, seating } = options;
    this.#ring = createRing({ rank, seating, layout, segmentFloats });
    const longest = Math.max(...layout.buckets.map(({ length }) => Math.ceil(length / layout.seats) + 32));
    this.#segments = segmentsOf(longest, segmentFloats);
    this.#evaluationBucket = layout.buckets.length - 1;
    const places = layout.buckets.length * layout.seats * this.#segments;
    this.#memory = [
      { values: new Float64Array(places), tail: noTail },
      { values: new Float64Array(places), tail: noTail },
    ];
    const last = this.#evaluationBucket - 1;
    const filled = this.#placesOf(last).at(-1);
    this.#tailPlace = filled ? this.#index(filled) : -1;
  }

  connect(side: "previous" | "next", end: End<RingMessage>): void {
    if (this.#isStopped) return end.close("cut");
    if (side === "previous") this.#incoming = end;
    else this.#outgoing = end;
    end.listen({
      message: (message) => this.#receive(message),
      closed: (reason) => this.#ended(side, reason),
    });
  }

  open(round: number, buckets: readonly number[]): void {
    if (this.#isStopped) return;
    this.#isHolding = false;
    this.#buckets = buckets;
    if (this.#gone) return this.#fail(this.#gone, "it left before the round");
    this.#perform(this.#ring.handle({ type: "open", round, buckets }));
  }

  ready(round: number, bucket: number, seat: number): void {
    if (!this.#isStopped) this.#perform(this.#ring.handle({ type: "ready", round, bucket, seat }));
  }

  expected(): void {}

  close(): void {
    this.#isStopped = true;
    this.#incoming?.finish(orderly);
    this.#outgoing?.finish(orderly);
  }

  cut(): void {
    this.#isStopped = true;
    this.#incoming?.close("cut");
    this.#outgoing?.close("cut");
  }

  #perform(effects: readonly RingEffect[]): void {
    for (const effect of effects)
      switch (effect.type) {
        case "sum": {
          this.#sums.push(effect);
          const { process, random, sumMs } = this.#options;
          process.after(sumMs === 0 ? 0 : this.#sums.length * sumMs * random.unit(), () => this.#sumNext());
          break;
        }
        case "send":
          this.#send(effect);
          break;
        case "held":
          this.#held(effect.round);
          break;
        case "fault":
          if (effect.code === "MISUSE") this.#options.onWrong(effect.message);
          this.#fail("previous", effect.message);
      }
  }

  #sumNext(): void {
    const sum = this.#sums.shift();
    if (!sum || this.#isStopped) return;
    const { content, compute } = this.#options;
    const memory = this.#memory[parityOf(sum.round)];
    const index = this.#index(sum);
    let value = sum.onto ? (memory.values[index] ?? 0) : undefined;
    let tail = sum.onto ? memory.tail : noTail;
    for (const seat of sum.seats) {
      const buffer = compute.buffer(seat);
      const part =
        sum.bucket === this.#evaluationBucket
          ? content.part(buffer.evaluation, sum.bucket)
          : (buffer.parts[sum.bucket] ?? 0);
      value = value === undefined ? part : content.add(value, part);
      tail = addTails(tail, buffer.tail);
    }
    memory.values[index] = value ?? 0;
    if (index === this.#tailPlace) memory.tail = tail;
    this.#perform(this.#ring.handle({ ...sum, type: "summed" }));
  }

  #send(effect: Extract<RingEffect, { type: "send" }>): void {
    if (this.#isStopped) return;
    if (this.#gone === "next") return this.#fail("next", "it left before the round was over");
    const { kind, round, bucket, chunk, segment, start, end } = effect;
    const memory = this.#memory[parityOf(round)];
    const index = this.#index(effect);
    const read = (): RingMessage => {
      const tail = index === this.#tailPlace ? memory.tail : noTail;
      return { type: "ring", kind, round, bucket, chunk, segment, value: memory.values[index] ?? 0, tail };
    };
    this.#outgoing?.sendView(read, headerBytes + (end - start) * 4);
  }

  #receive(message: RingMessage): void {
    if (this.#isStopped) return;
    const { kind, round, bucket, chunk, segment, value, tail } = message;
    const effects = this.#ring.handle({ type: "received", kind, round, bucket, chunk, segment });
    if (effects[0]?.type === "fault") {
      this.#options.onWrong(effects[0].message);
      return this.#perform(effects);
    }
    const memory = this.#memory[parityOf(round)];
    const index = this.#index(message);
    memory.values[index] = value;
    if (index === this.#tailPlace) memory.tail = tail;
    this.#perform(effects);
  }

  #held(round: number): void {
    this.#isHolding = true;
    const { values, tail } = this.#memory[parityOf(round)];
    const sums = this.#buckets.flatMap((bucket) =>
      this.#placesOf(bucket).map((place) => ({ ...place, value: values[this.#index(place)] ?? 0 })),
    );
    // In a turn of its own, as the transport does it.
    this.#options.process.after(0, () => {
      if (!this.#isStopped) this.#options.onHeld(round, sums, tail);
    });
  }

  #placesOf(bucket: number): Omit<Place, "round">[] {
    const { layout, segmentFloats } = this.#options;
    const length = layout.buckets[bucket]?.length ?? 0;
    return Array.from({ length: layout.seats }, (_, chunk) => {
      const { start, end } = chunkRange(length, chunk, layout.seats);
      return Array.from({ length: segmentsOf(end - start, segmentFloats) }, (_, segment) => ({
        bucket,
        chunk,
        segment,
      }));
    }).flat();
  }

  #index({ bucket, chunk, segment }: Omit<Place, "round">): number {
    return (bucket * this.#options.layout.seats + chunk) * this.#segments + segment;
  }

  #ended(side: "previous" | "next", reason: string): void {
    if (this.#isStopped) return;
    const mayLeave = side === "next" || this.#isHolding;
    if (reason !== orderly || !mayLeave) this.#fail(side, reason);
    else this.#gone = side;
  }

  #fail(side: "previous" | "next", message: string): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    if (side === "previous") this.#incoming?.close("cut");
    else this.#outgoing?.close("cut");
    this.#options.process.after(0, () => this.#options.onFault(side, message));
  }
}
