/**
 * `ringmaster bench step`: the whole training step (data, forward, loss, backward, fold, Adam) in one process, 64 samples a core, as a run takes it; with
 * `--peer` against PyTorch on the same cores, interleaved.
 */
import { type BenchLine, median } from "./bench-line.ts";
import type { BenchOptions } from "./bench-train.ts";
import { findPeers, type PeerResult, torchStep } from "./peers.ts";
import { type BenchModel, trainOnce } from "./train-once.ts";

interface Work {
  readonly work: string;
  readonly model: BenchModel;
  readonly precision: "float32" | "bfloat16";
  readonly cores: number;
}

const workOf = (model: BenchModel, precision: Work["precision"], cores: number): Work => ({
  work: `${model}/${precision}/${cores}-core${cores === 1 ? "" : "s"}`,
  model,
  precision,
  cores,
});

const works: readonly Work[] = [
  workOf("simple-cnn", "float32", 1),
  workOf("simple-cnn", "bfloat16", 1),
  workOf("simple-cnn", "float32", 2),
  workOf("simple-cnn", "bfloat16", 2),
  workOf("resnet-20", "float32", 2),
  workOf("resnet-20", "bfloat16", 2),
  workOf("mlp", "float32", 2),
];

const samplesPerCore = 64;

export async function benchStep(options: BenchOptions & { readonly peer: boolean }): Promise<BenchLine[]> {
  const { steps, runs, work: wanted, cliFile, onProgress } = options;
  const python = options.peer ? findPeers() : undefined;
  const lines: BenchLine[] = [];
  for (const { work, model, precision, cores } of works) {
    if (wanted !== undefined && !work.includes(wanted)) continue;
    const batch = samplesPerCore * cores;
    const ours: number[] = [];
    const peers: PeerResult[] = [];
    for (let run = 0; run < runs; run++) {
      const world = ["--threads", String(cores), "--seats", String(cores), "--set", `batchSize=${batch}`];
      const { imagesPerSecond } = await trainOnce(cliFile, model, [
        ...world,
        "--set",
        `precision=${precision}`,
        "--max-steps",
        String(steps),
      ]);
      ours.push(imagesPerSecond);
      if (python) peers.push(await torchStep(python, { model, cores, precision, batch, steps }));
      const theirs = peers.at(-1);
      onProgress(
        `${work}: ${Math.round(imagesPerSecond)} images/s${theirs ? ` (${theirs.peer}: ${Math.round(theirs.imagesPerSecond)})` : ""}`,
      );
    }
    const line = { bench: "step", work, metric: "images/s", value: median(ours), runs };
    const ratios = peers.map((peer, run) => (ours[run] ?? Number.NaN) / peer.imagesPerSecond);
    const best = [...peers].sort((a, b) => b.imagesPerSecond - a.imagesPerSecond)[0];
    lines.push(
      best
        ? {
            ...line,
            peer: best.peer,
            peerValue: median(peers.map((each) => each.imagesPerSecond)),
            ratio: median(ratios),
          }
        : line,
    );
  }
  return lines;
}
