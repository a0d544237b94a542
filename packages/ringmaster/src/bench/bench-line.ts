/** What every benchmark prints, a JSON object a line. */
export interface BenchLine {
  readonly bench: string;
  readonly work: string;
  readonly metric: string;
  readonly value: number;
  /** Who it was measured against in the same sitting, and how it did; absent where there was nobody. */
  readonly peer?: string;
  readonly peerValue?: number;
  /** Oriented so that more is better for us: the median over interleaved runs. */
  readonly ratio?: number;
  readonly runs: number;
}

/** Which way a metric is good. */
export type Better = "more" | "less";

/** What is measured, of which work. */
export interface Figure {
  readonly bench: string;
  readonly work: string;
  readonly metric: string;
  readonly better: Better;
}

export interface PeerResult {
  readonly peer: string;
  readonly value: number;
}

/** @param peers one a run, or none */
export function benchLine(
  { better, ...figure }: Figure,
  ours: readonly number[],
  peers: readonly PeerResult[],
): BenchLine {
  const line = { ...figure, value: median(ours), runs: ours.length };
  if (peers.length === 0) return line;
  const ratios = peers.map(({ value }, run) => advantage(better, ours[run] ?? Number.NaN, value));
  return {
    ...line,
    peer: bestOf(better, peers).peer,
    peerValue: median(peers.map(({ value }) => value)),
    ratio: median(ratios),
  };
}

/** How many times better ours is: above 1 we win, whichever way the metric is good. */
export const advantage = (better: Better, ours: number, theirs: number): number =>
  better === "more" ? ours / theirs : theirs / ours;

export const bestOf = (better: Better, peers: readonly PeerResult[]): PeerResult =>
  peers.reduce((best, each) => (advantage(better, each.value, best.value) > 1 ? each : best));

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
