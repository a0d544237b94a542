/** Loads the SIMD kernels of `kernels/` over the memory of tfjs's wasm backend. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { BackendError } from "../backend-error.ts";

/** Addresses are bytes in the memory; what each function does is said in its source. */
export interface SimdKernels {
  gemmScratch(): number;
  gemm(...args: [...GemmShape, ...GemmOperands, accumulate: number, scratch: number]): void;
  patches(to: number, image: number, ...rest: [...Window, first: number, count: number]): void;
  addPatches(image: number, from: number, ...rest: [...Window, first: number, count: number]): void;
  turnFilter(to: number, from: number, height: number, width: number, inChannels: number, outChannels: number): void;
  depthwiseInputGradient(dx: number, dy: number, filter: number, ...geometry: DepthwiseWindow): void;
  depthwiseFilterGradient(dw: number, x: number, dy: number, ...geometry: DepthwiseWindow): void;
  maxPoolGradient(dx: number, dy: number, x: number, y: number, ...geometry: PoolWindow): void;
  avgPoolGradient(dx: number, dy: number, ...geometry: PoolWindow): void;
  columnSums(out: number, x: number, rows: number, columns: number, factor: number, scratch: number): void;
  batchNorm(...args: [...BatchNormAddresses, rows: number, channels: number, epsilon: number, scratch: number]): void;
  batchNormGradient(...args: [...BatchNormGradientAddresses, rows: number, channels: number, scratch: number]): void;
  softmaxCrossEntropy(
    losses: number,
    gradient: number,
    logits: number,
    labels: number,
    rows: number,
    classes: number,
  ): void;
  reluGradient(dx: number, dy: number, y: number, floats: number): void;
  addBias(out: number, x: number, bias: number, rows: number, columns: number, relu: number): void;
  winogradInput(to: number, x: number, ...rest: [...Image, top: number, left: number, ...Tiles, patch: number]): void;
  winogradOutput(y: number, from: number, ...rest: [...Image, ...Tiles]): void;
  winogradGradient(to: number, dy: number, ...rest: [...Image, ...Tiles]): void;
  winogradFilter(to: number, filter: number, pairs: number): void;
  winogradFilterGradient(dw: number, from: number, pairs: number): void;
  compare(relation: number, out: number, x: number, bound: number, floats: number): void;
  uniforms(to: number, groups: number, key: bigint, counter: bigint, stream: bigint): void;
  normals(to: number, groups: number, key: bigint, counter: bigint, stream: bigint): void;
}

type GemmShape = [transposeA: number, transposeB: number, rows: number, columns: number, depth: number];
type GemmOperands = [a: number, lda: number, b: number, ldb: number, c: number, ldc: number];
type Steps = [stride: number, strideWidth: number, dilation: number, dilationWidth: number, top: number, left: number];
type Window = [
  height: number,
  width: number,
  channels: number,
  outWidth: number,
  filterHeight: number,
  filterWidth: number,
  ...Steps,
];
type Image = [height: number, width: number, channels: number];
type Tiles = [down: number, across: number, first: number, count: number];
type DepthwiseWindow = [
  height: number,
  width: number,
  channels: number,
  multiplier: number,
  outHeight: number,
  outWidth: number,
  filterHeight: number,
  filterWidth: number,
  ...Steps,
];
type PoolWindow = [
  height: number,
  width: number,
  channels: number,
  outHeight: number,
  outWidth: number,
  filterHeight: number,
  filterWidth: number,
  stride: number,
  strideWidth: number,
  top: number,
  left: number,
];
type BatchNormAddresses = [
  y: number,
  mean: number,
  corrected: number,
  inverse: number,
  x: number,
  scale: number,
  offset: number,
];
type BatchNormGradientAddresses = [
  dx: number,
  dscale: number,
  doffset: number,
  dy: number,
  x: number,
  scale: number,
  mean: number,
  inverse: number,
];

const names: readonly (keyof SimdKernels)[] = [
  "gemmScratch",
  "gemm",
  "patches",
  "addPatches",
  "turnFilter",
  "depthwiseInputGradient",
  "depthwiseFilterGradient",
  "maxPoolGradient",
  "avgPoolGradient",
  "columnSums",
  "batchNorm",
  "batchNormGradient",
  "softmaxCrossEntropy",
  "reluGradient",
  "winogradInput",
  "winogradOutput",
  "winogradGradient",
  "winogradFilter",
  "winogradFilterGradient",
  "addBias",
  "compare",
  "uniforms",
  "normals",
];

/** @throws BackendError SETUP_FAILED where the package was not built. */
export function loadSimdKernels(memory: WebAssembly.Memory): SimdKernels {
  const file = kernelsFile();
  let binary: Uint8Array;
  try {
    binary = readFileSync(file);
  } catch (cause) {
    throw new BackendError("SETUP_FAILED", `cannot read the portable kernels at ${file}: run "npm run build"`, {
      cause,
    });
  }
  const module = new WebAssembly.Module(Uint8Array.from(binary));
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  if (!isSimdKernels(exports)) {
    const missing = names.filter((name) => typeof exports[name] !== "function").join(", ");
    throw new BackendError("SETUP_FAILED", `${file} does not export ${missing}: run "npm run build"`);
  }
  return exports;
}

const kernelsFile = (): string => fileURLToPath(new URL("../../kernels/portable.wasm", import.meta.url));

function isSimdKernels(exports: object): exports is SimdKernels {
  return names.every((name) => typeof Reflect.get(exports, name) === "function");
}
