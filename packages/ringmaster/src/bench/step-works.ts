/**
 * The table of `ringmaster bench step`: what we run and whom we compare it with. A row more is a benchmark more; nothing else names them.
 */
import type { CpuFeature } from "@ringmaster/backend";
import type { Better } from "./bench-line.ts";
import type { BenchModel } from "./bench-model.ts";
import type { TimedResult } from "./train-once.ts";

/** A run on the CPU: a compute thread a core, and a seat of 64 samples for each. */
export interface Training {
  readonly model: BenchModel;
  readonly precision: "float32" | "bfloat16";
  readonly cores: number;
  /** Processes that share the cores. Default 1. */
  readonly ranks?: number;
  /** Default "tensorflow": never what happens to be installed. */
  readonly backend?: "tensorflow" | "portable";
  /** Further fields of the config, as `--set` takes them: `{ compiler: "xla" }`. */
  readonly set?: Readonly<Record<string, unknown>>;
}

export type StepPeer =
  /** A step of the same model in Python on as many cores; measured with `--peer` only. */
  | "torch"
  | "tf-function"
  /** Ourselves, trained otherwise. */
  | { readonly name: string; readonly training: Training }
  /** What it may take. */
  | { readonly name: string; readonly budget: number };

export interface StepWork {
  readonly work: string;
  /** Default "images/s". */
  readonly metric?: StepMetric;
  readonly ours: Training;
  readonly peer: StepPeer;
}

export type StepMetric = "images/s" | "peak MiB";

interface MetricRule {
  readonly better: Better;
  readonly read: (result: TimedResult) => number;
}

export const stepMetrics: Readonly<Record<StepMetric, MetricRule>> = {
  "images/s": { better: "more", read: ({ medianImagesPerSecond }) => medianImagesPerSecond },
  // Of the rank that takes the most.
  "peak MiB": { better: "less", read: ({ peakMemoryBytes }) => peakMemoryBytes / 2 ** 20 },
};

const training = (model: BenchModel, precision: Training["precision"], cores: number): Training => ({
  model,
  precision,
  cores,
});
const simpleCnnOnOneCore = training("simple-cnn", "float32", 1);

const underXla = (model: BenchModel): StepWork => {
  const kernels = training(model, "float32", 1);
  return {
    work: `${model}/float32/1-core/xla`,
    ours: { ...kernels, set: { compiler: "xla" } },
    peer: { name: "ringmaster, Grappler", training: kernels },
  };
};

export const stepWorks: readonly StepWork[] = [
  { work: "simple-cnn/float32/1-core", ours: simpleCnnOnOneCore, peer: "torch" },
  { work: "simple-cnn/bfloat16/1-core", ours: training("simple-cnn", "bfloat16", 1), peer: "torch" },
  { work: "simple-cnn/float32/2-cores", ours: training("simple-cnn", "float32", 2), peer: "torch" },
  { work: "simple-cnn/bfloat16/2-cores", ours: training("simple-cnn", "bfloat16", 2), peer: "torch" },
  { work: "resnet-20/float32/2-cores", ours: training("resnet-20", "float32", 2), peer: "torch" },
  { work: "resnet-20/bfloat16/2-cores", ours: training("resnet-20", "bfloat16", 2), peer: "torch" },
  { work: "mlp/float32/2-cores", ours: training("mlp", "float32", 2), peer: "torch" },
  { work: "simple-cnn/float32/2-cores/tf-function", ours: training("simple-cnn", "float32", 2), peer: "tf-function" },
  { work: "resnet-20/float32/2-cores/tf-function", ours: training("resnet-20", "float32", 2), peer: "tf-function" },
  { work: "mlp/float32/2-cores/tf-function", ours: training("mlp", "float32", 2), peer: "tf-function" },
  {
    work: "simple-cnn/float32/1-core/portable",
    ours: { ...simpleCnnOnOneCore, backend: "portable" },
    peer: { name: "ringmaster, libtensorflow", training: simpleCnnOnOneCore },
  },
  underXla("deep-mlp"),
  underXla("mlp"),
  underXla("simple-cnn"),
  underXla("resnet-20"),
  {
    // Of a worker process with one compute thread.
    work: "simple-cnn/memory",
    metric: "peak MiB",
    ours: { ...training("simple-cnn", "float32", 2), ranks: 2 },
    peer: { name: "budget of 700 MiB", budget: 700 },
  },
];

const samplesPerCore = 64;
export const batchOf = ({ cores }: Training): number => samplesPerCore * cores;

/** The options of `ringmaster train` that a training stands for. */
export function trainArgs(training: Training, steps: number): string[] {
  const { precision, cores, ranks = 1, backend = "tensorflow", set } = training;
  const fields = { batchSize: batchOf(training), precision, ...set };
  return [
    ...["--ranks", String(ranks), "--threads", String(cores / ranks), "--seats", String(cores)],
    ...["--backend", backend, "--device", "cpu", "--max-steps", String(steps)],
    ...Object.entries(fields).flatMap(([path, value]) => ["--set", `${path}=${JSON.stringify(value)}`]),
  ];
}

/** A run in bfloat16 is refused where the CPU would only emulate it. */
export const canRun = ({ precision }: Training, features: readonly CpuFeature[]): boolean =>
  precision !== "bfloat16" || features.includes("avx512_bf16") || features.includes("amx_bf16");
