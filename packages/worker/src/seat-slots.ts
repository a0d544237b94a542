/**
 * Which seat's gradients lie in which buffer of a rank's memory, and of which step they are.
 *
 * Seats come and go between steps, buffers stay: a seat that leaves is forgotten only when its buffer is given to another. A seat's gradients count as kept
 * once they are whole, under the tag of the step that they were computed for, until the buffer is computed into again.
 */
import { WorkerError } from "./worker-error.ts";

interface Slot {
  /** Whose gradients lie here, seated or not. */
  seat: number | null;
  /** The `take` by which it was last seated; 0: none. */
  takenAt: number;
  tag: string | null;
  /** The newest command that computes into it, and the tag that it has once it is through. */
  training: { readonly command: number; readonly tag: string } | null;
}

export class SeatSlots {
  readonly #slots: readonly Slot[];
  #seats: readonly number[] = [];
  #takes = 0;

  constructor(capacity: number) {
    this.#slots = Array.from({ length: capacity }, () => ({ seat: null, takenAt: 0, tag: null, training: null }));
  }

  /** The rank's seats. */
  get seats(): readonly number[] {
    return this.#seats;
  }

  /**
   * The rank's seats from now on. One that has a slot keeps it; the others get slots of nobody, then those whose seats left longest ago.
   * @throws WorkerError MISUSE where there are more seats than slots
   */
  take(seats: readonly number[]): void {
    if (seats.length > this.#slots.length)
      throw new WorkerError(
        "MISUSE",
        `expected at most ${this.#slots.length} seats, which fit this rank's memory, found ${seats.length}`,
      );
    this.#takes++;
    const free = this.#slots
      .filter(({ seat }) => seat === null || !seats.includes(seat))
      .sort((a, b) => a.takenAt - b.takenAt);
    for (const seat of seats) {
      const own = this.#find(seat);
      const slot = own ?? free.shift();
      if (!slot) throw new WorkerError("MISUSE", `expected different seats, found ${seats}`);
      if (!own) Object.assign(slot, { seat, tag: null, training: null });
      slot.takenAt = this.#takes;
    }
    this.#seats = [...seats];
  }

  /** The place of a seat's slot. */
  indexOf(seat: number): number {
    const index = this.#seats.includes(seat) ? this.#slots.findIndex((slot) => slot.seat === seat) : -1;
    if (index < 0) throw new WorkerError("MISUSE", `expected one of this rank's seats ${this.#seats}, found ${seat}`);
    return index;
  }

  /** The rank's seats whose gradients under this tag are whole. */
  kept(tag: string): readonly number[] {
    return this.#seats.filter((seat) => this.#find(seat)?.tag === tag);
  }

  /** A command is given that computes all seats that are not kept: they have no gradients until it says so. */
  train(command: number, tag: string): void {
    for (const seat of this.#seats) {
      const slot = this.#find(seat);
      if (!slot || slot.tag === tag) continue;
      slot.tag = null;
      slot.training = { command, tag };
    }
  }

  /** A command has handed over all of a seat: its gradients are whole, unless a later one computes into them. */
  ready(command: number, seat: number): void {
    const slot = this.#find(seat);
    if (slot?.training?.command !== command) return;
    slot.tag = slot.training.tag;
    slot.training = null;
  }

  #find(seat: number): Slot | undefined {
    return this.#slots.find((slot) => slot.seat === seat);
  }
}
