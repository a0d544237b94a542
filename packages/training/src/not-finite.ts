/** Which tensors a step left without finite numbers, in words for the person whose run it ends. It is asked only when something is wrong: plain loops do. */
import type { Placed, RunLayout } from "./layout.ts";
import type { MemoryMap } from "./memory-map.ts";

const named = 3;

/**
 * Names the parameters that are not finite, else the gradients: parameters that are not finite explain whatever was computed from them. At most three names, in
 * the model's order; null where all are finite.
 * @param reduced byte offset of the reduction buffer that holds the step's gradients.
 */
export function describeNotFinite(
  memory: WebAssembly.Memory,
  map: MemoryMap,
  layout: RunLayout,
  reduced: number,
): string | null {
  const namesIn = (buffer: number): string[] =>
    layout.parameters.filter((placed) => !isAllFinite(memory, buffer, placed)).map(({ name }) => name);
  const parameters = namesIn(map.parameters);
  if (parameters.length > 0) return `the parameters ${enumerate(parameters)} are not finite`;
  const gradients = namesIn(reduced);
  return gradients.length > 0 ? `the gradients of ${enumerate(gradients)} are not finite` : null;
}

/** The tensor alone: what lies in the gaps between tensors is nobody's. */
function isAllFinite(memory: WebAssembly.Memory, buffer: number, { offset, size }: Placed): boolean {
  return new Float32Array(memory.buffer, buffer + 4 * offset, size).every(Number.isFinite);
}

function enumerate(names: readonly string[]): string {
  const shown = names.slice(0, named);
  const last = shown.pop() ?? "";
  const list = shown.length > 0 ? `${shown.join(", ")} and ${last}` : last;
  return names.length > named ? `${list} (and ${names.length - named} more)` : list;
}
