/**
 * Convolutions and their gradients. Those of 3 x 3 without stride go another way (`winograd-convolutions.ts`). Of the others the forward pass is tfjs's own (XNNPACK):
 * it runs as fast as our products of matrices do, without copying patches.
 *
 * - To the input, where no stride skips positions, the gradient is itself a convolution, of dy with the filter turned by 180 degrees: XNNPACK again. Else
 *   dy times the transposed filter gives a gradient for each place of each patch, which are added up.
 * - To the filter it is the transposed patch matrix times dy, in blocks of positions that stay within the cache; a block may span images.
 */
import tf from "#tfjs";
import { input, one, type Register, size } from "./kernel-registry.ts";
import { backendName, type TensorInfo, type WasmHeap } from "./wasm-backend.ts";
import { convolutionOf, type Geometry } from "./windows.ts";
import { convolveWinograd, suitsWinograd, winogradFilterGradient } from "./winograd-convolutions.ts";

/** What one block of patches holds, in floats: 256 KiB, a part of any second-level cache. */
const blockFloats = 65_536;
/** Positions are blocked in multiples of what the product of matrices takes at once. */
const depthBlock = 256;

export function registerConvolutions(heap: WasmHeap, register: Register): void {
  register("Conv2D", (original) => (inputs, attributes) => {
    const [x, filter] = [input(inputs, "x"), input(inputs, "filter")];
    const geometry = convolutionOf(x.shape, filter.shape, attributes, "full");
    if (!suitsWinograd(geometry)) return original(inputs, attributes);
    return convolveWinograd(heap, x, heap.addressOf(filter), geometry);
  });
  register("FusedConv2D", (original) => (inputs, attributes) => {
    const [x, filter, bias] = [input(inputs, "x"), input(inputs, "filter"), inputs["bias"]];
    const { activation = "linear" } = attributes;
    const geometry = convolutionOf(x.shape, filter.shape, attributes, "full");
    const fits = bias?.shape.length === 1 && bias.shape[0] === geometry.outChannels;
    if (!suitsWinograd(geometry) || !fits || (activation !== "linear" && activation !== "relu")) {
      return original(inputs, attributes);
    }
    const out = convolveWinograd(heap, x, heap.addressOf(filter), geometry);
    const [at, rows] = [heap.addressOf(out), size(geometry.outShape) / geometry.outChannels];
    heap.kernels.addBias(at, at, heap.addressOf(bias), rows, geometry.outChannels, Number(activation === "relu"));
    return out;
  });
  register("Conv2DBackpropFilter", () => (inputs, attributes) => {
    const x = input(inputs, "x");
    const geometry = convolutionOf(x.shape, attributes["filterShape"] as number[], attributes, "full");
    const gradient = suitsWinograd(geometry) ? winogradFilterGradient : filterGradient;
    return gradient(heap, x, input(inputs, "dy"), geometry);
  });
  register("Conv2DBackpropInput", () => (inputs, attributes) => {
    const filter = input(inputs, "filter");
    const geometry = convolutionOf(attributes["inputShape"] as number[], filter.shape, attributes, "full");
    return inputGradient(heap, input(inputs, "dy"), filter, geometry);
  });
}

/** The arguments that tell `patches` and `addPatches` how positions of the output lie over the input. */
const windowOf = (geometry: Geometry) =>
  [
    geometry.inHeight,
    geometry.inWidth,
    geometry.inChannels,
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

const patchFloats = ({ filterHeight, filterWidth, inChannels }: Geometry): number =>
  filterHeight * filterWidth * inChannels;

/** Whether the patch matrix is the input itself. */
const isPointwise = (g: Geometry): boolean =>
  g.filterHeight === 1 &&
  g.filterWidth === 1 &&
  g.strideHeight === 1 &&
  g.strideWidth === 1 &&
  Object.values(g.padInfo).every((side) => typeof side === "string" || side === 0);

function filterGradient(heap: WasmHeap, x: TensorInfo, dy: TensorInfo, geometry: Geometry): TensorInfo {
  const { kernels } = heap;
  const { batchSize, inHeight, inWidth, inChannels, outHeight, outWidth, outChannels } = geometry;
  const out = heap.zeros(geometry.filterShape);
  const patch = patchFloats(geometry);
  const perImage = outHeight * outWidth;
  const positions = batchSize * perImage;
  const dw = heap.addressOf(out);
  const xAt = heap.addressOf(x);
  const dyAt = heap.addressOf(dy);
  const gemmScratch = kernels.gemmScratch();

  const addBlock = (a: number, first: number, count: number, scratch: number): void => {
    const gradient = dyAt + first * outChannels * 4;
    kernels.gemm(1, 0, patch, outChannels, count, a, patch, gradient, outChannels, dw, outChannels, 1, scratch);
  };
  if (isPointwise(geometry)) {
    addBlock(xAt, 0, positions, heap.scratch(gemmScratch));
    return out;
  }
  const blockRows = depthBlock * Math.max(1, Math.floor(blockFloats / (depthBlock * patch)));
  const scratch = heap.scratch(gemmScratch + Math.min(blockRows, positions) * patch * 4);
  const rows = scratch + gemmScratch;
  for (let first = 0; first < positions; first += blockRows) {
    const count = Math.min(blockRows, positions - first);
    for (let done = 0; done < count; ) {
      const image = Math.floor((first + done) / perImage);
      const within = (first + done) % perImage;
      const part = Math.min(count - done, perImage - within);
      const imageAt = xAt + image * inHeight * inWidth * inChannels * 4;
      kernels.patches(rows + done * patch * 4, imageAt, ...windowOf(geometry), within, part);
      done += part;
    }
    addBlock(rows, first, count, scratch);
  }
  return out;
}

function inputGradient(heap: WasmHeap, dy: TensorInfo, filter: TensorInfo, geometry: Geometry): TensorInfo {
  const { filterHeight, filterWidth, strideHeight, strideWidth, inChannels, outChannels, padInfo } = geometry;
  const pads = [
    filterHeight - 1 - padInfo.top,
    filterHeight - 1 - padInfo.bottom,
    filterWidth - 1 - padInfo.left,
    filterWidth - 1 - padInfo.right,
  ];
  const [top = 0, bottom = 0, left = 0, right = 0] = pads;
  const whole =
    geometry.outHeight + top + bottom - filterHeight + 1 === geometry.inHeight &&
    geometry.outWidth + left + right - filterWidth + 1 === geometry.inWidth;
  if (strideHeight !== 1 || strideWidth !== 1 || !whole || Math.min(...pads) < 0) {
    return scatteredInputGradient(heap, dy, filter, geometry);
  }
  const turned = heap.output([filterHeight, filterWidth, outChannels, inChannels]);
  const [to, from] = [heap.addressOf(turned), heap.addressOf(filter)];
  heap.kernels.turnFilter(to, from, filterHeight, filterWidth, inChannels, outChannels);
  const pad = [
    [0, 0],
    [top, bottom],
    [left, right],
    [0, 0],
  ];
  const { kernelFunc } = tf.getKernel("Conv2D", backendName);
  const attrs = { strides: 1, dilations: 1, dataFormat: "NHWC", pad } as unknown as tf.NamedAttrMap;
  const dx = kernelFunc({ inputs: { x: dy, filter: turned }, backend: heap.backend, attrs });
  heap.free(turned);
  return one(dx);
}

function scatteredInputGradient(heap: WasmHeap, dy: TensorInfo, filter: TensorInfo, geometry: Geometry): TensorInfo {
  const { kernels } = heap;
  const { batchSize, inHeight, inWidth, inChannels, outHeight, outWidth, outChannels } = geometry;
  const out = heap.zeros(geometry.inShape);
  const patch = patchFloats(geometry);
  const perImage = outHeight * outWidth;
  const blockRows = Math.min(perImage, depthBlock * Math.max(1, Math.floor(blockFloats / (depthBlock * patch))));
  const gemmScratch = kernels.gemmScratch();
  const scratch = heap.scratch(gemmScratch + blockRows * patch * 4);
  const rows = scratch + gemmScratch;
  const dx = heap.addressOf(out);
  const dyAt = heap.addressOf(dy);
  const w = heap.addressOf(filter);
  for (let image = 0; image < batchSize; image += 1) {
    const imageAt = dx + image * inHeight * inWidth * inChannels * 4;
    for (let first = 0; first < perImage; first += blockRows) {
      const count = Math.min(blockRows, perImage - first);
      const gradient = dyAt + (image * perImage + first) * outChannels * 4;
      kernels.gemm(0, 1, count, patch, outChannels, gradient, outChannels, w, outChannels, rows, patch, 0, scratch);
      kernels.addPatches(imageAt, rows, ...windowOf(geometry), first, count);
    }
  }
  return out;
}
