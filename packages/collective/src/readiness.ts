/**
 * Which seats of an arc have given a bucket. A visit needs a head of the arc, a tail of it, or all of it, so two lengths a bucket say
 * which visits can be worked, and each seat makes them grow at most once.
 */
export class Readiness {
  readonly #seats: number;
  readonly #given: Uint8Array; // [buckets, seats]
  readonly #head: Uint16Array; // [buckets]: how many seats from the arc's beginning are ready without a gap
  readonly #tail: Uint16Array; // [buckets]: the same from its end

  constructor(buckets: number, seats: number) {
    this.#seats = seats;
    this.#given = new Uint8Array(buckets * seats);
    this.#head = new Uint16Array(buckets);
    this.#tail = new Uint16Array(buckets);
  }

  reset(): void {
    this.#given.fill(0);
    this.#head.fill(0);
    this.#tail.fill(0);
  }

  head(bucket: number): number {
    return this.#head[bucket] ?? 0;
  }

  tail(bucket: number): number {
    return this.#tail[bucket] ?? 0;
  }

  all(bucket: number): boolean {
    return this.head(bucket) === this.#seats;
  }

  /** Marks the seat at `position`; false where it was ready before. */
  give(bucket: number, position: number): boolean {
    const base = bucket * this.#seats;
    if (this.#given[base + position] !== 0) return false;
    this.#given[base + position] = 1;
    let head = this.head(bucket);
    while (head < this.#seats && this.#given[base + head] === 1) head++;
    this.#head[bucket] = head;
    let tail = this.tail(bucket);
    while (tail < this.#seats && this.#given[base + this.#seats - 1 - tail] === 1) tail++;
    this.#tail[bucket] = tail;
    return true;
  }
}
