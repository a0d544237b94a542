/** The numbers of a run's state: parameters, statistics, optimizer slots; where they lie, how they start, and their one hash. */
import { createHash } from "node:crypto";
import type { Placed, RunLayout } from "./layout.ts";
import type { MemoryMap } from "./memory-map.ts";
import type { Model } from "./model.ts";
import { type OptimizerSpec, slotNames } from "./optimizer.ts";
import { tailFields } from "./tail.ts";

/** A tensor of the state, over the rank's shared memory. */
export interface StateTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export interface StateTensors {
  /** Parameters, then statistics, in the layout's order. */
  readonly model: readonly StateTensor[];
  /** Slot by slot, named `exp_avg/conv2d/kernel`. */
  readonly optimizer: readonly StateTensor[];
}

export function stateTensors(
  memory: WebAssembly.Memory,
  map: MemoryMap,
  layout: RunLayout,
  spec: OptimizerSpec,
): StateTensors {
  const over =
    (buffer: number, prefix: string) =>
    (placed: Placed): StateTensor => ({
      name: `${prefix}${placed.name}`,
      shape: placed.shape,
      data: new Float32Array(memory.buffer, buffer + 4 * placed.offset, placed.size),
    });
  return {
    model: [...layout.parameters.map(over(map.parameters, "")), ...layout.statistics.map(over(map.statistics, ""))],
    optimizer: slotNames(spec).flatMap((slot, index) => layout.parameters.map(over(map.slots[index] ?? 0, `${slot}/`))),
  };
}

/** Copies a freshly built model's weights into the flat buffers. */
export function writeInitialState(tensors: StateTensors, model: Model): void {
  [...model.parameters, ...model.statistics].forEach(({ variable }, index) => {
    tensors.model[index]?.data.set(variable.dataSync());
  });
  for (const { data } of tensors.optimizer) data.fill(0);
}

/** SHA-256 over the tensors' names, shapes and bytes, little-endian. */
export function hashTensors(tensors: readonly StateTensor[]): string {
  const hash = createHash("sha256");
  for (const { name, shape, data } of tensors) {
    hash.update(`${name}[${shape.join(",")}]`);
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest("hex");
}

/** After a step is held: each rewritten statistic becomes the mean over the batch's samples. Source: the reduced tail. */
export function updateStatistics(
  memory: WebAssembly.Memory,
  map: MemoryMap,
  layout: RunLayout,
  rewrites: readonly boolean[],
  reduced: number,
  samples: number,
): void {
  layout.statistics.forEach(({ offset, size }, index) => {
    if (!rewrites[index]) return;
    const target = new Float32Array(memory.buffer, map.statistics + 4 * offset, size);
    const sums = new Float32Array(memory.buffer, reduced + 4 * (layout.tailStart + tailFields + offset), size);
    for (let i = 0; i < size; i++) target[i] = (sums[i] ?? 0) / samples;
  });
}
