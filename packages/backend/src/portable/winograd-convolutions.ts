/** 3 x 3 convolutions without stride, and the gradients of their filters, by Winograd's way (theory: `kernels/winograd.ts`). */
import type { TensorInfo, WasmHeap } from "./wasm-backend.ts";
import type { Geometry } from "./windows.ts";

/** Elements of a transformed tile. */
const elements = 16;
/** What one block of tiles holds, before and after its products, in floats: 384 KiB, within any second-level cache. */
const blockFloats = 98_304;
/** With fewer channels, or fewer tiles to a filter, the transforms cost more than they save. */
const fewChannels = 16;
const fewTiles = 32;

export function suitsWinograd(geometry: Geometry): boolean {
  const { filterHeight, filterWidth, strideHeight, strideWidth, dilationHeight, dilationWidth } = geometry;
  const { inChannels, outChannels, outHeight, outWidth } = geometry;
  const plain = [strideHeight, strideWidth, dilationHeight, dilationWidth].every((step) => step === 1);
  const channels = [inChannels, outChannels].every((count) => count >= fewChannels && count % 4 === 0);
  const tiles = Math.min(outHeight, outWidth) >= 4 && tilesOf(geometry).count >= fewTiles;
  return filterHeight === 3 && filterWidth === 3 && plain && channels && tiles;
}

/** @param filter address of [3, 3, in channels, out channels] */
export function convolveWinograd(heap: WasmHeap, x: TensorInfo, filter: number, geometry: Geometry): TensorInfo {
  const { kernels } = heap;
  const { inChannels, outChannels, outHeight, outWidth } = geometry;
  const pairs = inChannels * outChannels;
  const out = heap.output(geometry.outShape);
  const [from, to] = [heap.addressOf(x), heap.addressOf(out)];
  const tiles = tilesOf(geometry);
  const places = allocate(heap, geometry, tiles.block);
  kernels.winogradFilter(places.filter, filter, pairs);
  for (let first = 0; first < tiles.count; first += tiles.block) {
    const count = Math.min(tiles.block, tiles.count - first);
    const part = [tiles.down, tiles.across, first, count] as const;
    kernels.winogradInput(places.input, from, ...patchesOf(geometry), ...part, places.patch);
    for (let e = 0; e < elements; e += 1) {
      const a = places.input + e * count * inChannels * 4;
      const b = places.filter + e * pairs * 4;
      const c = places.output + e * count * outChannels * 4;
      const { gemm } = places;
      kernels.gemm(0, 0, count, outChannels, inChannels, a, inChannels, b, outChannels, c, outChannels, 0, gemm);
    }
    kernels.winogradOutput(to, places.output, outHeight, outWidth, outChannels, ...part);
  }
  return out;
}

export function winogradFilterGradient(heap: WasmHeap, x: TensorInfo, dy: TensorInfo, geometry: Geometry): TensorInfo {
  const { kernels } = heap;
  const { inChannels, outChannels, outHeight, outWidth } = geometry;
  const pairs = inChannels * outChannels;
  const out = heap.output(geometry.filterShape);
  const [from, gradient] = [heap.addressOf(x), heap.addressOf(dy)];
  const tiles = tilesOf(geometry);
  const places = allocate(heap, geometry, tiles.block);
  for (let first = 0; first < tiles.count; first += tiles.block) {
    const count = Math.min(tiles.block, tiles.count - first);
    const part = [tiles.down, tiles.across, first, count] as const;
    kernels.winogradInput(places.input, from, ...patchesOf(geometry), ...part, places.patch);
    kernels.winogradGradient(places.output, gradient, outHeight, outWidth, outChannels, ...part);
    for (let e = 0; e < elements; e += 1) {
      const a = places.input + e * count * inChannels * 4;
      const b = places.output + e * count * outChannels * 4;
      const c = places.filter + e * pairs * 4;
      const add = Number(first > 0);
      const { gemm } = places;
      kernels.gemm(1, 0, inChannels, outChannels, count, a, inChannels, b, outChannels, c, outChannels, add, gemm);
    }
  }
  kernels.winogradFilterGradient(heap.addressOf(out), places.filter, pairs);
  return out;
}

const patchesOf = ({ inHeight, inWidth, inChannels, padInfo }: Geometry) =>
  [inHeight, inWidth, inChannels, padInfo.top, padInfo.left] as const;

function tilesOf({ batchSize, outHeight, outWidth, inChannels, outChannels }: Geometry) {
  const down = Math.ceil(outHeight / 2);
  const across = Math.ceil(outWidth / 2);
  const fitting = Math.floor(blockFloats / (elements * (inChannels + outChannels)));
  return { down, across, count: batchSize * down * across, block: Math.max(16, fitting - (fitting % 4)) };
}

/** Addresses of the room that a convolution works in. */
function allocate(heap: WasmHeap, { inChannels, outChannels }: Geometry, tiles: number) {
  const gemmBytes = heap.kernels.gemmScratch();
  const planes = elements * 4;
  const floats = inChannels * outChannels + tiles * (inChannels + outChannels) + inChannels;
  const gemm = heap.scratch(gemmBytes + planes * floats);
  const filter = gemm + gemmBytes;
  const input = filter + planes * inChannels * outChannels;
  const output = input + planes * tiles * inChannels;
  const patch = output + planes * tiles * outChannels;
  return { gemm, filter, input, output, patch };
}
