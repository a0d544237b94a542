/** Others on the same cores: the Python environment that `scripts/peers` makes, and the steps that are timed there. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { UsageError } from "../usage-error.ts";
import { bestOf, type PeerResult } from "./bench-line.ts";
import type { BenchModel } from "./bench-model.ts";
import { output } from "./subprocess.ts";

/** Each with the module that it needs. */
const modules = { torch: "torch", "tf-function": "tensorflow" } as const;
export type PythonPeer = keyof typeof modules;

export interface PeerStep {
  readonly model: BenchModel;
  readonly cores: number;
  readonly precision: "float32" | "bfloat16";
  /** Samples of the global batch. */
  readonly batch: number;
  readonly steps: number;
}

/**
 * The peers' Python: RINGMASTER_PEERS, else `.peers` of the working directory; null where none of them is needed.
 * @throws UsageError PEERS_MISSING
 */
export function findPeers(needed: readonly PythonPeer[]): string | null {
  if (needed.length === 0) return null;
  const python = resolve(process.env["RINGMASTER_PEERS"] || ".peers", "bin", "python");
  const names = [...new Set(needed.map((peer) => modules[peer]))];
  const find = "import importlib.util, sys; sys.exit(any(importlib.util.find_spec(n) is None for n in sys.argv[1:]))";
  if (existsSync(python) && spawnSync(python, ["-c", find, ...names]).status === 0) return python;
  throw new UsageError(
    "PEERS_MISSING",
    `expected a Python environment with ${names.join(" and ")} at ${python}; make it with scripts/peers`,
  );
}

export const pythonStep = (python: string, peer: PythonPeer, step: PeerStep): Promise<PeerResult> =>
  peer === "torch" ? torchStep(python, step) : tfFunctionStep(python, step);

/** The better of PyTorch with a thread a core and, on several cores, of DistributedDataParallel with a process a core. */
async function torchStep(python: string, step: PeerStep): Promise<PeerResult> {
  const { model, cores, batch } = step;
  const script = peerScript("torch_step.py");
  const env = (threads: number) => ({ OMP_NUM_THREADS: String(threads) });
  const threads = await output(python, [script, model, String(cores), String(batch), ...rest(step)], env(cores));
  const one = { peer: `torch, ${inThreads(cores)}`, value: Number(threads) };
  if (cores === 1) return one;
  const launcher = ["-m", "torch.distributed.run", "--standalone", `--nproc_per_node=${cores}`];
  const share = String(batch / cores);
  const ddp = await output(python, [...launcher, script, model, "1", share, ...rest(step)], env(1));
  return bestOf("more", [one, { peer: `torch DDP, ${cores} x 1 thread`, value: Number(ddp) }]);
}

/** TensorFlow as Python has it, the whole step one graph, with an intra-op thread a core. */
async function tfFunctionStep(python: string, step: PeerStep): Promise<PeerResult> {
  const { model, cores, batch } = step;
  const script = peerScript("tf_function_step.py");
  const said = await output(python, [script, model, String(cores), String(batch), ...rest(step)]);
  return { peer: `tf.function, ${inThreads(cores)}`, value: Number(said) };
}

const rest = ({ steps, precision }: PeerStep): string[] => [
  String(steps),
  ...(precision === "bfloat16" ? [precision] : []),
];

const inThreads = (cores: number): string => `${cores} thread${cores === 1 ? "" : "s"}`;

const peerScript = (name: string): string => fileURLToPath(new URL(`../../../peers/${name}`, import.meta.url));
