/** How every figure is taken: ours and the peer's in turn, so that what else the machine does meets both, and medians. */
import { type BenchLine, benchLine, type Figure, type PeerResult } from "./bench-line.ts";

export interface BenchOptions {
  /** Steps of each run. */
  readonly steps: number;
  /** Interleaved runs of each work. */
  readonly runs: number;
  /** Only works whose name contains it. */
  readonly work: string | undefined;
  /** Against Python too, where a work has such a peer. */
  readonly peer: boolean;
  readonly cliFile: string;
  readonly onProgress: (line: string) => void;
}

/** Lines as they come: one that fails takes none with it. */
export type Bench = (options: BenchOptions) => AsyncIterable<BenchLine>;

export interface Contest extends Figure {
  readonly ours: () => Promise<number>;
  readonly peer: (() => Promise<PeerResult>) | undefined;
}

export async function compare(
  { ours, peer, ...figure }: Contest,
  { runs, onProgress }: Pick<BenchOptions, "runs" | "onProgress">,
): Promise<BenchLine> {
  const values: number[] = [];
  const peers: PeerResult[] = [];
  for (let run = 1; run <= runs; run++) {
    const value = await ours();
    values.push(value);
    const theirs = await peer?.();
    if (theirs) peers.push(theirs);
    const against = theirs ? ` (${theirs.peer}: ${shown(theirs.value)})` : "";
    onProgress(`${figure.work}, run ${run} of ${runs}: ${shown(value)} ${figure.metric}${against}`);
  }
  return benchLine(figure, values, peers);
}

const shown = (value: number): string => (value < 100 ? value.toPrecision(3) : String(Math.round(value)));
