/** Gradients of depthwise convolutions, which tfjs's wasm backend lacks. */
import { input, type Register } from "./kernel-registry.ts";
import type { WasmHeap } from "./wasm-backend.ts";
import { convolutionOf, forEachImage, type Geometry } from "./windows.ts";

export function registerDepthwiseConvolutions(heap: WasmHeap, register: Register): void {
  register("DepthwiseConv2dNativeBackpropInput", () => (inputs, attributes) => {
    const filter = input(inputs, "filter");
    const geometry = convolutionOf(attributes["inputShape"] as number[], filter.shape, attributes, "depthwise");
    const out = heap.output(geometry.inShape);
    const [dx, dy, w] = [heap.addressOf(out), heap.addressOf(input(inputs, "dy")), heap.addressOf(filter)];
    forEachImage(geometry, (x, y) => heap.kernels.depthwiseInputGradient(dx + x, dy + y, w, ...windowOf(geometry)));
    return out;
  });
  register("DepthwiseConv2dNativeBackpropFilter", () => (inputs, attributes) => {
    const x = input(inputs, "x");
    const geometry = convolutionOf(x.shape, attributes["filterShape"] as number[], attributes, "depthwise");
    const out = heap.zeros(geometry.filterShape);
    const [dw, from, dy] = [heap.addressOf(out), heap.addressOf(x), heap.addressOf(input(inputs, "dy"))];
    forEachImage(geometry, (x, y) => heap.kernels.depthwiseFilterGradient(dw, from + x, dy + y, ...windowOf(geometry)));
    return out;
  });
}

const windowOf = (geometry: Geometry) =>
  [
    geometry.inHeight,
    geometry.inWidth,
    geometry.inChannels,
    geometry.outChannels / geometry.inChannels,
    geometry.outHeight,
    geometry.outWidth,
    geometry.filterHeight,
    geometry.filterWidth,
    geometry.strideHeight,
    geometry.strideWidth,
    geometry.dilationHeight,
    geometry.dilationWidth,
    geometry.padInfo.top,
    geometry.padInfo.left,
  ] as const;
