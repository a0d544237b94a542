/**
 * The compute threads of a simulated rank, and the memory that they share with its ring: the state, a gradient buffer a seat, two reduction buffers. A command
 * takes its time, and what it reads and writes it reads and writes in the moment in which a thread would: so what is used too early or overwritten too early
 * gives other numbers.
 */
import type { Millis } from "@ringmaster/protocol";
import { type OptimizerUpdate, SeatSlots } from "@ringmaster/worker";
import { addTails, type Content, noTail, type Tail } from "./content.ts";
import type { Process } from "./process.ts";
import type { Random } from "./random.ts";
import { seatCapacity, type WorldSettings } from "./settings.ts";
import type { VirtualTime } from "./virtual-time.ts";

export interface ComputeParts {
  readonly process: Process;
  readonly time: VirtualTime;
  readonly random: Random;
  readonly content: Content;
  readonly settings: WorldSettings;
  /** What must not happen. */
  readonly onWrong: (message: string) => void;
}

export interface ComputeEvents {
  /** When a seat's buckets will be ready, if nothing happens to this rank. */
  expected(seat: number, bucketsMs: readonly Millis[]): void;
  bucketReady(seat: number, bucket: number): void;
  seatReady(seat: number): void;
  /** World of one: all threads have folded. */
  folded(): void;
  updated(): void;
}

/** What a round has left in a reduction buffer. */
export interface Reduced {
  readonly sum: number;
  readonly tail: Tail;
}

interface SeatBuffer {
  /** [buckets] */
  parts: number[];
  tail: Tail;
  gradient: number;
  evaluation: number;
}

interface NextStep {
  readonly step: number;
  readonly tag: string;
  readonly plan: number;
  readonly foldInto: 0 | 1 | null;
}

/** Of a seat's time, until a bucket's gradients are ready: the forward pass takes a third of it, and the backward pass gives one bucket after another. */
export const readyPart = (bucket: number, buckets: number): number => 1 / 3 + ((2 / 3) * (bucket + 1)) / buckets;

type Command = (done: () => void) => void;

export class SimulatedCompute {
  readonly #parts: ComputeParts;
  readonly #events: ComputeEvents;
  readonly #slots: SeatSlots;
  readonly #buffers: SeatBuffer[];
  readonly reduced: [Reduced, Reduced] = [
    { sum: 0, tail: noTail },
    { sum: 0, tail: noTail },
  ];
  /** The parameters and all that belongs to them. */
  state: number;
  #commands = 0;
  #waiting: Command[] = [];
  #busySinceMs: Millis | undefined;
  #whenIdle: (() => void)[] = [];
  #computeMs = 0;

  constructor(parts: ComputeParts, events: ComputeEvents) {
    this.#parts = parts;
    this.#events = events;
    const { buckets } = parts.settings;
    const capacity = seatCapacity(parts.settings);
    this.#slots = new SeatSlots(capacity);
    this.#buffers = Array.from({ length: capacity }, () => ({
      parts: new Array<number>(buckets).fill(0),
      tail: noTail,
      gradient: 0,
      evaluation: 0,
    }));
    this.state = parts.content.seedState;
  }

  get isIdle(): boolean {
    return this.#busySinceMs === undefined;
  }

  get busyMs(): Millis {
    return this.#busySinceMs === undefined ? 0 : this.#parts.time.nowMs - this.#busySinceMs;
  }

  get seats(): readonly number[] {
    return this.#slots.seats;
  }

  takeSeats(seats: readonly number[]): void {
    if (!this.isIdle) throw new Error("expected idle compute threads, found a command under way");
    this.#slots.take(seats);
  }

  buffer(seat: number): Readonly<SeatBuffer> {
    const buffer = this.#buffers[this.#slots.indexOf(seat)];
    if (buffer === undefined) throw new RangeError(`seat ${seat} has no buffer`);
    return buffer;
  }

  takeTiming(): Millis {
    const computeMs = this.#computeMs;
    this.#computeMs = 0;
    return computeMs;
  }

  step(update: (OptimizerUpdate & { readonly parity: 0 | 1 }) | null, next: NextStep | null): void {
    const command = ++this.#commands;
    const kept = next ? this.#slots.kept(next.tag) : [];
    if (next) this.#slots.train(command, next.tag);
    this.#give((done) => {
      const train = () => (next ? this.#train(command, next, kept, done) : done());
      if (!update) return train();
      this.#parts.process.after(this.#parts.settings.optimizerMs, () => {
        const { optimizerStep, samples, parity } = update;
        this.state = this.#parts.content.update(this.state, this.reduced[parity].sum, optimizerStep, samples);
        this.#events.updated();
        train();
      });
    });
  }

  evaluate(split: "validation" | "test", foldInto: 0 | 1 | null): void {
    this.#commands++;
    this.#give((done) => {
      const { content, settings, process } = this.#parts;
      const { seats } = this;
      this.#expect(
        seats.map((seat) => [seat, settings.seatMs / 4] as const),
        1,
      );
      process.after((settings.seatMs / 4) * Math.ceil(seats.length / settings.threads), () => {
        for (const seat of seats) {
          this.#mutable(seat).evaluation = content.evaluate(this.state, split, seat);
          this.#events.seatReady(seat);
        }
        if (foldInto !== null) this.#fold(foldInto, (seat) => this.buffer(seat).evaluation);
        done();
      });
    });
  }

  /** Writes the seed's state anew. */
  initialise(done: () => void): void {
    this.#commands++;
    this.#give((end) =>
      this.#parts.process.after(1, () => {
        this.state = this.#parts.content.seedState;
        end();
        done();
      }),
    );
  }

  whenIdle(run: () => void): void {
    if (this.isIdle) run();
    else this.#whenIdle.push(run);
  }

  #give(command: Command): void {
    this.#waiting.push(command);
    if (this.isIdle) this.#next();
  }

  #next(): void {
    const command = this.#waiting.shift();
    this.#busySinceMs = command ? this.#parts.time.nowMs : undefined;
    if (command) return command(() => this.#next());
    for (const run of this.#whenIdle.splice(0)) run();
  }

  #train(command: number, { step, plan, foldInto }: NextStep, kept: readonly number[], done: () => void): void {
    const { content, settings, process, random } = this.#parts;
    const { seats, state } = this;
    const { seatMs, computeJitter, buckets, threads, isLarge } = settings;
    if (state !== content.stateAfter(step))
      this.#parts.onWrong(`${process.name} computes step ${step} from a wrong state`);
    let left = seats.length;
    const ended = () => {
      left--;
      if (left > 0) return;
      if (foldInto !== null) this.#fold(foldInto, (seat) => this.buffer(seat).gradient);
      done();
    };
    const freeMs = new Array<Millis>(threads).fill(0);
    const works = seats.map((seat, place) => {
      const isKept = kept.includes(seat);
      const durationMs = isKept ? 0 : seatMs * (1 + (computeJitter === 0 ? 0 : computeJitter * random.unit()));
      const beginMs = freeMs[place % threads] ?? 0;
      freeMs[place % threads] = beginMs + durationMs;
      return { seat, isKept, beginMs, durationMs };
    });
    this.#computeMs += Math.max(...freeMs);
    this.#expect(
      works.map(({ seat, beginMs, durationMs }) => [seat, beginMs + durationMs, beginMs] as const),
      buckets,
    );
    for (const { seat, isKept, beginMs, durationMs } of works) {
      const given = content.give(state, step, seat);
      const end = () => {
        const buffer = this.#mutable(seat);
        if (!isKept) {
          buffer.gradient = given.gradient;
          for (let bucket = 0; bucket < buckets; bucket++) buffer.parts[bucket] = content.part(given.gradient, bucket);
        }
        buffer.tail = { ...(isKept ? buffer.tail : given.tail), plan };
        this.#slots.ready(command, seat);
        this.#events.seatReady(seat);
        ended();
      };
      if (!isLarge)
        for (let bucket = 0; bucket < buckets - 1; bucket++)
          process.after(beginMs + durationMs * readyPart(bucket, buckets), () => {
            if (!isKept) this.#mutable(seat).parts[bucket] = content.part(given.gradient, bucket);
            this.#events.bucketReady(seat, bucket);
          });
      process.after(beginMs + durationMs, end);
    }
  }

  #expect(works: readonly (readonly [seat: number, endMs: Millis, beginMs?: Millis])[], buckets: number): void {
    const { nowMs } = this.#parts.time;
    for (const [seat, endMs, beginMs = 0] of works)
      this.#events.expected(
        seat,
        Array.from(
          { length: buckets },
          (_, bucket) => nowMs + beginMs + (endMs - beginMs) * readyPart(bucket, buckets),
        ),
      );
  }

  #fold(parity: 0 | 1, part: (seat: number) => number): void {
    const { content } = this.#parts;
    const { seats } = this;
    const tails = seats.map((seat) => this.buffer(seat).tail);
    this.reduced[parity] = { sum: content.reduce(seats.map(part)), tail: tails.reduce(addTails, noTail) };
    this.#events.folded();
  }

  #mutable(seat: number): SeatBuffer {
    return this.buffer(seat) as SeatBuffer;
  }
}
