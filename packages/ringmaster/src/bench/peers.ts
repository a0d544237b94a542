/** PyTorch on the same cores: the Python environment that `scripts/peers` makes, and the step that it times there. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { UsageError } from "../usage-error.ts";
import { output } from "./subprocess.ts";
import type { BenchModel } from "./train-once.ts";

export interface PeerStep {
  readonly model: BenchModel;
  readonly cores: number;
  readonly precision: "float32" | "bfloat16";
  /** Samples of the global batch. */
  readonly batch: number;
  readonly steps: number;
}

/** The peers' Python: RINGMASTER_PEERS, else `.peers` of the working directory. @throws UsageError PEERS_MISSING */
export function findPeers(): string {
  const python = resolve(process.env["RINGMASTER_PEERS"] || ".peers", "bin", "python");
  if (existsSync(python)) return python;
  throw new UsageError(
    "PEERS_MISSING",
    `expected a Python environment with PyTorch at ${python}; make it with scripts/peers`,
  );
}

const script = fileURLToPath(
  new URL(
    import.meta.url.endsWith(".ts") ? "../../peers/torch_step.py" : "../../../peers/torch_step.py",
    import.meta.url,
  ),
);

export interface PeerResult {
  readonly peer: string;
  readonly imagesPerSecond: number;
}

/** The better of PyTorch with a thread a core and, on several cores, of DistributedDataParallel with a process a core. */
export async function torchStep(
  python: string,
  { model, cores, precision, batch, steps }: PeerStep,
): Promise<PeerResult> {
  const rest = [String(steps), ...(precision === "bfloat16" ? ["bfloat16"] : [])];
  const env = (threads: number) => ({ OMP_NUM_THREADS: String(threads) });
  const threads = await output(python, [script, model, String(cores), String(batch), ...rest], env(cores));
  const one = { peer: `torch, ${cores} thread${cores === 1 ? "" : "s"}`, imagesPerSecond: Number(threads) };
  if (cores === 1) return one;
  const launcher = ["-m", "torch.distributed.run", "--standalone", `--nproc_per_node=${cores}`];
  const ddp = await output(python, [...launcher, script, model, "1", String(batch / cores), ...rest], env(1));
  const other = { peer: `torch DDP, ${cores} x 1 thread`, imagesPerSecond: Number(ddp) };
  return other.imagesPerSecond > one.imagesPerSecond ? other : one;
}
