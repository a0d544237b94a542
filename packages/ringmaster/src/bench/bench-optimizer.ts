/**
 * `ringmaster bench optimizer`: one pass over SimpleCNN's parameters on one core, in this process and nothing else.
 *
 * In a run the step before leaves none of parameters and slots in a cache. So passes go round several sets of buffers, each of which a pass finds in memory alone.
 */
import {
  adam,
  loadOptimizerKernels,
  type OptimizerKernels,
  type OptimizerSpec,
  sgd,
  slotNames,
  updateRange,
} from "@ringmaster/training";
import { type BenchLine, median } from "./bench-line.ts";
import { chooseWorks } from "./choose-works.ts";
import { type BenchOptions, compare } from "./compare.ts";

interface OptimizerWork {
  readonly work: string;
  readonly optimizer: OptimizerSpec;
  /** What a pass may take. */
  readonly budgetMs?: number;
}

export const optimizerWorks: readonly OptimizerWork[] = [
  { work: "adam/2.1M-parameters/1-core", optimizer: adam(), budgetMs: 3 },
  { work: "sgd-momentum/2.1M-parameters/1-core", optimizer: sgd({ learningRate: 0.01, momentum: 0.9 }) },
];

const parameters = 2_122_186;
/** 8 x 34 MB for Adam. */
const sets = 8;

export async function* benchOptimizer(options: BenchOptions): AsyncGenerator<BenchLine> {
  for (const { work, optimizer, budgetMs } of chooseWorks(optimizerWorks, options.work)) {
    const figure = { bench: "optimizer", work, metric: "ms", better: "less" } as const;
    const ours = async () => median(passesMs(optimizer, options.steps));
    const budget = budgetMs === undefined ? undefined : { peer: `budget of ${budgetMs} ms`, value: budgetMs };
    yield await compare({ ...figure, ours, peer: budget && (async () => budget) }, options);
  }
}

/** What each of `passes` passes took, those before left out in which pages are touched first and the kernel is compiled. */
function passesMs(optimizer: OptimizerSpec, passes: number): number[] {
  const buffers = 2 + slotNames(optimizer).length;
  const stride = Math.ceil((parameters * 4) / 64) * 64;
  const pages = Math.ceil((sets * buffers * stride) / 65_536);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const kernels = loadOptimizerKernels(memory);
  for (let set = 0; set < sets; set++) {
    fillWithGradients(new Float32Array(memory.buffer, (set * buffers + 1) * stride, parameters));
  }
  const timed = (pass: number): number => passMs(kernels, optimizer, { buffers, stride, pass });
  for (let pass = 0; pass < sets; pass++) timed(pass);
  return Array.from({ length: passes }, (_, pass) => timed(sets + pass));
}

interface Pass {
  /** Parameters, gradients and slots of a set, one after the other, `stride` bytes apart. */
  readonly buffers: number;
  readonly stride: number;
  readonly pass: number;
}

function passMs(kernels: OptimizerKernels, optimizer: OptimizerSpec, { buffers, stride, pass }: Pass): number {
  const first = (pass % sets) * buffers * stride;
  const range = {
    parameters: first,
    gradients: first + stride,
    slots: slotNames(optimizer).map((_, slot) => first + (2 + slot) * stride),
    start: 0,
    end: parameters,
    step: 1 + Math.floor(pass / sets),
    samples: 64,
  };
  const began = performance.now();
  updateRange(kernels, optimizer, range);
  return performance.now() - began;
}

/** Sums over 64 samples, of a size that a training has: neither zeros nor numbers so small that a CPU is slow with them. */
function fillWithGradients(gradients: Float32Array): void {
  for (let i = 0; i < gradients.length; i++) gradients[i] = (((i * 7919) % 2003) - 1001.5) / 1000;
}
