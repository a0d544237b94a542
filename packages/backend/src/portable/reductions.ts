/** Sums and means over neighbouring dimensions that are not the last, such as a bias's gradient or global pooling; tfjs transposes first. */
import tf from "#tfjs";
import { type Attributes, input, type Register, size } from "./kernel-registry.ts";
import type { TensorInfo, WasmHeap } from "./wasm-backend.ts";

export function registerReductions(heap: WasmHeap, register: Register): void {
  for (const name of ["Sum", "Mean"] as const) {
    register(name, (original) => (inputs, attributes) => {
      const x = input(inputs, "x");
      const plan = planReduction(x, attributes);
      if (!plan) return original(inputs, attributes);
      const { outer, rows, columns, outShape } = plan;
      const out = heap.output(outShape);
      const scratch = heap.scratch(columns * 16);
      const [to, from] = [heap.addressOf(out), heap.addressOf(x)];
      const factor = name === "Mean" ? 1 / rows : 1;
      for (let i = 0; i < outer; i += 1) {
        heap.kernels.columnSums(to + i * columns * 4, from + i * rows * columns * 4, rows, columns, factor, scratch);
      }
      return out;
    });
  }
}

interface Reduction {
  /** The input as outer x rows x columns, summed over rows. */
  readonly outer: number;
  readonly rows: number;
  readonly columns: number;
  readonly outShape: readonly number[];
}

function planReduction(x: TensorInfo, { axis, keepDims }: Attributes): Reduction | undefined {
  const axes = tf.util.parseAxisParam(axis as number | number[], x.shape).sort((a, b) => a - b);
  const first = axes[0] ?? 0;
  const end = first + axes.length;
  const neighbours = axes.every((dimension, i) => dimension === first + i);
  if (x.dtype !== "float32" || axes.length === 0 || !neighbours || end >= x.shape.length) return undefined;
  const kept = keepDims ? axes.map(() => 1) : [];
  const [before, reduced, after] = [x.shape.slice(0, first), x.shape.slice(first, end), x.shape.slice(end)];
  const plan = { outer: size(before), rows: size(reduced), columns: size(after) };
  return plan.rows === 0 ? undefined : { ...plan, outShape: [...before, ...kept, ...after] };
}
