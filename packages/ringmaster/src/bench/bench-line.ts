/** What every benchmark prints, a JSON object a line. */
export interface BenchLine {
  readonly bench: string;
  readonly work: string;
  readonly metric: string;
  readonly value: number;
  /** With `--peer`: who it was measured against in the same sitting, and how it did. */
  readonly peer?: string;
  readonly peerValue?: number;
  /** Oriented so that more is better for us: the median over interleaved runs. */
  readonly ratio?: number;
  readonly runs: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
