/** Gradients of pooling; those of tfjs's wasm backend run in JavaScript, some 30 times slower, and its average counts places outside the image. */
import { input, type Register } from "./kernel-registry.ts";
import type { WasmHeap } from "./wasm-backend.ts";
import { forEachImage, type Geometry, poolingOf } from "./windows.ts";

export function registerPooling(heap: WasmHeap, register: Register): void {
  register("MaxPoolGrad", () => (inputs, attributes) => {
    const x = input(inputs, "input");
    const out = heap.output(x.shape);
    const [dx, from] = [heap.addressOf(out), heap.addressOf(x)];
    const [dy, y] = [heap.addressOf(input(inputs, "dy")), heap.addressOf(input(inputs, "output"))];
    const geometry = poolingOf(x.shape, attributes);
    forEachImage(geometry, (atX, atY) => {
      heap.kernels.maxPoolGradient(dx + atX, dy + atY, from + atX, y + atY, ...windowOf(geometry));
    });
    return out;
  });
  register("AvgPoolGrad", () => (inputs, attributes) => {
    const x = input(inputs, "input");
    const out = heap.output(x.shape);
    const [dx, dy] = [heap.addressOf(out), heap.addressOf(input(inputs, "dy"))];
    const geometry = poolingOf(x.shape, attributes);
    forEachImage(geometry, (atX, atY) => {
      heap.kernels.avgPoolGradient(dx + atX, dy + atY, ...windowOf(geometry));
    });
    return out;
  });
}

const windowOf = (geometry: Geometry) =>
  [
    geometry.inHeight,
    geometry.inWidth,
    geometry.inChannels,
    geometry.outHeight,
    geometry.outWidth,
    geometry.filterHeight,
    geometry.filterWidth,
    geometry.strideHeight,
    geometry.strideWidth,
    geometry.padInfo.top,
    geometry.padInfo.left,
  ] as const;
