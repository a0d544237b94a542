import { align, type RunLayout } from "./layout.ts";
import { TrainingError } from "./training-error.ts";

/** Where everything lies in a rank's one shared WebAssembly.Memory. Byte offsets, multiples of 64. */
export interface MemoryMap {
  readonly parameters: number;
  readonly statistics: number;
  /** The optimizer's flat buffers, in the order of its slot names. */
  readonly slots: readonly number[];
  /** Two reduction buffers, which alternate by round. */
  readonly reduced: readonly [number, number];
  /** Flat buffers of the seats that the rank may sit on at a time: one for each of S, or as many as fit. Pages that nobody writes cost nothing. */
  readonly seats: readonly number[];
  /** A compute thread's batch and scratch. */
  readonly threads: readonly ThreadMemory[];
  readonly bytes: number;
}

export interface ThreadMemory {
  /** float32 [batch, height, width, channels] */
  readonly images: number;
  /** int32 [batch] */
  readonly labels: number;
  /** float32: what losses are multiplied by in float16. */
  readonly lossScale: number;
  /** What a program returns that is not a gradient. */
  readonly scratch: number;
}

export interface MemoryNeeds {
  readonly layout: RunLayout;
  readonly slots: number;
  readonly threads: number;
  /** The most samples that a thread works at a time, training and evaluation. */
  readonly batch: number;
  readonly imageFloats: number;
}

/** A WebAssembly memory ends here. */
const maxBytes = 2 ** 32;
const pageBytes = 65_536;

/** @throws TrainingError OUT_OF_MEMORY when not even one seat fits a WebAssembly memory; it says what is needed and what to change. */
export function createMemoryMap(needs: MemoryNeeds): MemoryMap {
  const { layout } = needs;
  let end = 64;
  const take = (floats: number): number => {
    const start = end;
    end += align(floats) * 4;
    return start;
  };
  const times = <Part>(count: number, make: () => Part): Part[] => Array.from({ length: count }, make);
  const map = {
    parameters: take(layout.parameterFloats),
    statistics: take(layout.statisticFloats),
    slots: times(needs.slots, () => take(layout.parameterFloats)),
    reduced: [take(layout.seatFloats), take(layout.seatFloats)] as const,
    threads: times(needs.threads, () => ({
      images: take(needs.batch * needs.imageFloats),
      labels: take(needs.batch),
      lossScale: take(1),
      scratch: take(needs.batch + 32),
    })),
  };
  const seatBytes = align(layout.seatFloats) * 4;
  const fitting = Math.floor((maxBytes - end) / seatBytes);
  if (fitting < 1) {
    const need = `${Math.ceil((end + seatBytes) / 2 ** 20)} MiB for one seat of ${layout.parameterFloats} parameters and ${needs.threads} threads' batches of ${needs.batch}`;
    throw new TrainingError(
      "OUT_OF_MEMORY",
      `a rank can hold 4096 MiB, this one needs ${need}; use fewer threads, smaller batches or a smaller model`,
    );
  }
  const seats = times(Math.min(layout.seats, fitting), () => take(layout.seatFloats));
  return { ...map, seats, bytes: Math.ceil(end / pageBytes) * pageBytes };
}

/** The memory itself: shared, of a fixed size, so that its buffer never changes. */
export function createMemory({ bytes }: MemoryMap): WebAssembly.Memory {
  const pages = bytes / pageBytes;
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
}
