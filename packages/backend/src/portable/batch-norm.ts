/**
 * Batch normalisation in training, forward and backward one kernel each. What is reserved for the gradient: the batch's mean, its inverse standard deviation,
 * and nothing.
 */
import { input, type Register, size } from "./kernel-registry.ts";
import type { TensorInfo, WasmHeap } from "./wasm-backend.ts";

export function registerBatchNorm(heap: WasmHeap, register: Register): void {
  const at = (tensor: TensorInfo): number => heap.addressOf(tensor);
  register("FusedBatchNormV3", () => (inputs, { epsilon }) => {
    const [x, scale, offset] = [input(inputs, "x"), input(inputs, "scale"), input(inputs, "offset")];
    const { rows, channels } = rowsOf(x);
    const y = heap.output(x.shape);
    const [mean, corrected, inverse] = [heap.output([channels]), heap.output([channels]), heap.output([channels])];
    const scratch = heap.scratch(channels * 16);
    const outputs = [at(y), at(mean), at(corrected), at(inverse)] as const;
    heap.kernels.batchNorm(...outputs, at(x), at(scale), at(offset), rows, channels, Number(epsilon), scratch);
    const reserved = heap.output([channels]);
    heap.bytes.copyWithin(at(reserved), at(mean), at(mean) + channels * 4);
    return [y, mean, corrected, reserved, inverse, heap.output([0])];
  });
  register("FusedBatchNormGradV3", () => (inputs) => {
    const [dy, x, scale] = [input(inputs, "dy"), input(inputs, "x"), input(inputs, "scale")];
    const [mean, inverse] = [input(inputs, "reserve1"), input(inputs, "reserve2")];
    const { rows, channels } = rowsOf(x);
    const dx = heap.output(x.shape);
    const [dscale, doffset] = [heap.output([channels]), heap.output([channels])];
    const scratch = heap.scratch(channels * 16);
    const outputs = [at(dx), at(dscale), at(doffset)] as const;
    const given = [at(dy), at(x), at(scale), at(mean), at(inverse)] as const;
    heap.kernels.batchNormGradient(...outputs, ...given, rows, channels, scratch);
    return [dx, dscale, doffset, heap.output([0]), heap.output([0])];
  });
}

function rowsOf({ shape }: TensorInfo): { readonly rows: number; readonly channels: number } {
  const channels = shape.at(-1) ?? 1;
  return { rows: size(shape.slice(0, -1)), channels };
}
