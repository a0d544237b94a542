/**
 * Where a rank's values and sums lie, and the one arithmetic that adds them: seats in fold order, one float addition each. The ring and
 * the compute threads of a world of one both fold through `fold`, so they cannot differ.
 */
import { CollectiveError } from "./collective-error.ts";
import { type BucketLayout, chunkAt, chunkRange, flatFloats } from "./layout.ts";
import { foldOrder } from "./schedule.ts";
import type { SumKernels } from "./sum-kernels.ts";

/** Flat buffers of the layout in one shared memory; offsets are bytes, multiples of 64. The caller owns them. */
export interface ReductionMemory {
  readonly memory: WebAssembly.Memory;
  /** The flat buffer of one of this rank's seats (numbered as in the seating). */
  seatOffset(seat: number): number;
  /** The flat buffer in which rounds of this parity are reduced. */
  reducedOffset(parity: 0 | 1): number;
}

/** The reduction buffer's parity of a round. */
export function parityOf(round: number): 0 | 1 {
  return round % 2 === 0 ? 0 : 1;
}

/**
 * Checks that the flat buffers of these seats and both reduction buffers lie in the memory, so that nothing traps later.
 * @throws CollectiveError `MISUSE`
 */
export function checkReductionMemory(memory: ReductionMemory, layout: BucketLayout, seats: readonly number[]): void {
  const bytes = flatFloats(layout) * 4;
  const available = memory.memory.buffer.byteLength;
  const check = (what: string, offset: number) => {
    if (!Number.isInteger(offset) || offset < 0 || offset % 64 !== 0 || offset + bytes > available)
      throw new CollectiveError(
        "MISUSE",
        `${what} needs ${bytes} bytes at a multiple of 64, but starts at ${offset} of ${available}`,
      );
  };
  for (const seat of seats) check(`the buffer of seat ${seat}`, memory.seatOffset(seat));
  for (const parity of [0, 1] as const) check(`reduction buffer ${parity}`, memory.reducedOffset(parity));
}

const blockFloats = 16 * 1024; // 64 KiB: what is folded stays in the first levels of cache while seats are added to it

/**
 * Folds the floats at `sources` (byte addresses, in order) into `out`: starting from the first of them, or `onto` what lies there.
 */
export function fold(
  kernels: SumKernels,
  out: number,
  sources: readonly number[],
  onto: boolean,
  floats: number,
): void {
  for (let done = 0; done < floats; done += blockFloats) {
    const n = Math.min(blockFloats, floats - done);
    const at = done * 4;
    const [first, second] = sources;
    let next = 0;
    if (!onto && first !== undefined) {
      if (second === undefined) kernels.copy(out + at, first + at, n);
      else kernels.sum(out + at, first + at, second + at, n);
      next = 2;
    }
    for (; next < sources.length; next++) kernels.add(out + at, (sources[next] ?? 0) + at, n);
  }
}

/**
 * All-reduce in a world of one rank, for some floats: folds all seats of [startFloat, endFloat) of a bucket (relative to the bucket), each
 * float in the fold order of the chunk that it lies in. Ranges may be cut anyhow among compute threads; the bits are those of the ring.
 * @throws CollectiveError `MISUSE` where the range does not lie in the bucket.
 */
export function foldRange(
  kernels: SumKernels,
  memory: ReductionMemory,
  layout: BucketLayout,
  parity: 0 | 1,
  bucket: number,
  startFloat: number,
  endFloat: number,
): void {
  const { seats } = layout;
  const { start: bucketStart, length } = layout.buckets[bucket] ?? { start: 0, length: -1 };
  if (!(startFloat >= 0 && startFloat <= endFloat && endFloat <= length))
    throw new CollectiveError(
      "MISUSE",
      `floats ${startFloat} to ${endFloat} do not lie in bucket ${bucket} of ${length} floats`,
    );
  const reduced = memory.reducedOffset(parity);
  for (let start = startFloat; start < endFloat; ) {
    const chunk = chunkAt(length, start, seats);
    const end = Math.min(endFloat, chunkRange(length, chunk, seats).end);
    const at = (bucketStart + start) * 4;
    const sources = foldOrder(chunk, seats).map((seat) => memory.seatOffset(seat) + at);
    fold(kernels, reduced + at, sources, false, end - start);
    start = end;
  }
}
