/**
 * A rank in a generation: its seats, its ring, and the rounds that it and its compute threads work. With the generation's end all of it is gone but the memory.
 * A world of one has no ring: its compute threads fold.
 */
import { CollectiveError, openRing, parityOf, type RingListener, type RingTransport } from "@ringmaster/collective";
import { expectedReceipt } from "@ringmaster/data";
import { maxErrorChars, type RunConfig, shorten } from "@ringmaster/protocol";
import { describeNotFinite, type PreparedData, readTail, tailFields } from "@ringmaster/training";
import type { ComputeSide } from "./compute-side.ts";
import { readEvaluation } from "./reduced-evaluation.ts";
import type { Split, WorkerEffect, WorkerInput } from "./worker-io.ts";

export interface Parts {
  readonly config: RunConfig;
  readonly data: PreparedData;
  readonly compute: ComputeSide;
}

interface RingSurroundings {
  /** None in a world of one process. */
  readonly listener: RingListener | undefined;
  readonly secret: string;
  /** The name under which links are proven. */
  readonly run: string;
  readonly signal: AbortSignal;
  readonly input: (input: WorkerInput) => void;
  readonly failed: (error: unknown) => void;
}

type Effect<Type extends WorkerEffect["type"]> = Extract<WorkerEffect, { type: Type }>;

interface Round {
  readonly number: number;
  readonly buckets: readonly number[];
  readonly purpose:
    | { readonly kind: "step"; readonly step: number }
    | { readonly kind: "evaluation"; readonly split: Split };
  lastSeatMs: number;
}

/** A ring whose links do not stand by then is one whose neighbour is in trouble. */
const connectTimeoutMs = 10_000;
/** What a neighbour or the way to it is at fault in; a regrouping is the answer. */
const linkFaults: ReadonlySet<string> = new Set(["LINK_LOST", "LINK_TIMEOUT", "LINK_REFUSED", "BAD_PEER"]);

export class SeatedRank {
  readonly #parts: Parts;
  readonly #effect: Effect<"openRing">;
  readonly #surroundings: RingSurroundings;
  #ring: RingTransport | undefined;
  #rounds = 0;
  #round: Round | undefined;
  #stepParity: 0 | 1 = 0;
  #isCut = false;

  constructor(parts: Parts, effect: Effect<"openRing">, surroundings: RingSurroundings) {
    this.#parts = parts;
    this.#effect = effect;
    this.#surroundings = surroundings;
  }

  /** Sits down and links with the neighbours; what comes of it is told as an input. */
  async open(): Promise<void> {
    const { generation, seats, peers } = this.#effect;
    this.#parts.compute.takeSeats(seats);
    // A world of one has nothing to wait for.
    if (peers.length === 1 || (await this.#link())) this.#surroundings.input({ type: "ringOpen", generation });
  }

  step({ step, tag, plan, lossScale, update }: Effect<"step">): void {
    const { compute } = this.#parts;
    const updated = update && { ...update, parity: this.#stepParity };
    const { parity, foldInto } = this.#openRound(compute.layout.stepBuckets, { kind: "step", step });
    this.#stepParity = parity;
    compute.step({ update: updated, compute: { step, tag, plan, lossScale, foldInto } });
  }

  update({ update }: Effect<"update">): void {
    this.#parts.compute.step({ update: { ...update, parity: this.#stepParity }, compute: null });
  }

  evaluate({ split }: Effect<"evaluate">): void {
    const { compute } = this.#parts;
    const { foldInto } = this.#openRound([compute.layout.evaluationBucket], { kind: "evaluation", split });
    compute.evaluate({ split, foldInto });
  }

  bucketReady(seat: number, bucket: number): void {
    if (this.#round) this.#ring?.ready(this.#round.number, bucket, seat);
  }

  /** The buckets before the round's last were handed over one by one. */
  seatReady(seat: number): void {
    const last = this.#round?.buckets.at(-1);
    if (!this.#round || last === undefined) return;
    this.#round.lastSeatMs = performance.now();
    this.bucketReady(seat, last);
  }

  /** The round's reduced values are here. */
  held(): void {
    const round = this.#round;
    if (!round || this.#isCut) return;
    const { generation } = this.#effect;
    const { compute, data } = this.#parts;
    const parity = parityOf(round.number);
    const { input } = this.#surroundings;
    if (round.purpose.kind === "evaluation") {
      const evaluation = readEvaluation(compute, round.purpose.split, parity);
      return input({ type: "evaluationHeld", generation, evaluation });
    }
    const { layout, memory, map } = compute;
    const { step } = round.purpose;
    const ids = data.sampler.batch(step);
    const tail = readTail(new Float32Array(memory.buffer, map.reduced[parity] + 4 * layout.tailStart, tailFields));
    const isSound = tail.overflowed === 0 && Number.isFinite(tail.loss);
    input({
      type: "stepHeld",
      generation,
      tail,
      expected: { samples: ids.length, receipt: expectedReceipt(step, ids) },
      timing: { ...compute.takeTiming(), communicationMs: performance.now() - round.lastSeatMs },
      memoryBytes: process.resourceUsage().maxRSS * 1024,
      notFinite: isSound ? null : describeNotFinite(memory, map, layout, map.reduced[parity]),
    });
  }

  /** Nothing is told from here on. */
  cut(): void {
    this.#isCut = true;
    this.#ring?.cut();
  }

  /** Leaves in order: what the neighbours still need is delivered first. */
  async close(): Promise<void> {
    this.#isCut = true;
    await this.#ring?.close();
  }

  async #link(): Promise<boolean> {
    const { rank, seating, generation, peers } = this.#effect;
    const { listener, secret, run, signal } = this.#surroundings;
    const { config, compute } = this.#parts;
    const { layout, map, memory, seatOffset } = compute;
    try {
      const ring = await openRing({
        rank,
        seating,
        generation,
        layout,
        segmentFloats: config.segmentBytes / 4,
        memory: { memory, seatOffset, reducedOffset: (parity) => map.reduced[parity] },
        run,
        secret,
        peers: peers.map(({ host, port }, of) => ({ rank: of, host, port })),
        ...(listener && { listener }),
        connectTimeoutMs,
        signal,
        onHeld: () => this.held(),
        onFault: (error) => this.#lost(error),
      });
      this.#ring = ring;
      if (this.#isCut) ring.cut();
    } catch (error) {
      this.#lost(error);
    }
    return this.#ring !== undefined && !this.#isCut;
  }

  #lost(error: unknown): void {
    if (this.#isCut) return;
    const { failed, input } = this.#surroundings;
    if (!(error instanceof CollectiveError) || !linkFaults.has(error.code)) return failed(error);
    const message = shorten(error.message, maxErrorChars);
    input({ type: "linkLost", generation: this.#effect.generation, peer: error.peerRank ?? null, message });
  }

  #openRound(buckets: readonly number[], purpose: Round["purpose"]) {
    const number = this.#rounds++;
    const parity = parityOf(number);
    this.#round = { number, buckets, purpose, lastSeatMs: performance.now() };
    this.#ring?.open(number, buckets);
    return { parity, foldInto: this.#ring ? null : parity };
  }
}
