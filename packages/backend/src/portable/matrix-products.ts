/**
 * Products of matrices; tfjs's own are some 30 times slower where something is transposed. Else XNNPACK multiplies, as fast as we do, and keeps its packed copy of the
 * right-hand side from call to call. That pays for few rows, but not within a program, where weights are new tensors at each call.
 */
import tf from "#tfjs";
import { isInProgram } from "../keyed-random.ts";
import { type Inputs, input, type Register, size } from "./kernel-registry.ts";
import type { TensorInfo, WasmHeap } from "./wasm-backend.ts";

/** Below so many rows packing costs more than multiplying. */
const fewRows = 16;

export function registerMatrixProducts(heap: WasmHeap, register: Register): void {
  register("BatchMatMul", (original) => (inputs, attributes) => {
    const product = planProduct(inputs, attributes);
    return product ? multiply(heap, inputs, product) : original(inputs, attributes);
  });
  register("_FusedMatMul", (original) => (inputs, attributes) => {
    const { activation = "linear" } = attributes;
    const bias = inputs["bias"];
    const ours = activation === "linear" || activation === "relu";
    const product = ours ? planProduct(inputs, attributes) : undefined;
    const fits = !bias || (bias.shape.length === 1 && bias.shape[0] === product?.columns);
    if (!product || !fits) return original(inputs, attributes);
    const out = multiply(heap, inputs, product);
    const relu = activation === "relu";
    if (!bias && !relu) return out;
    const offset = bias ?? heap.zeros([product.columns]);
    const at = heap.addressOf(out);
    heap.kernels.addBias(at, at, heap.addressOf(offset), product.batch * product.rows, product.columns, Number(relu));
    if (!bias) heap.free(offset);
    return out;
  });
}

interface Product {
  readonly batch: number;
  readonly outShape: readonly number[];
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  /** Whether one left-hand or right-hand side serves the whole batch. */
  readonly sharedA: boolean;
  readonly sharedB: boolean;
}

function planProduct(inputs: Inputs, attributes: Readonly<Record<string, unknown>>): Product | undefined {
  const a = input(inputs, "a");
  const b = input(inputs, "b");
  const transposeA = Boolean(attributes["transposeA"]);
  const transposeB = Boolean(attributes["transposeB"]);
  const [rows = 0, depth = 0] = transposeA ? a.shape.slice(-2).reverse() : a.shape.slice(-2);
  const [inner = 0, columns = 0] = transposeB ? b.shape.slice(-2).reverse() : b.shape.slice(-2);
  const batchA = size(a.shape.slice(0, -2));
  const batchB = size(b.shape.slice(0, -2));
  const keepsPacked = rows < fewRows && !transposeA && !transposeB && !isInProgram();
  const plain = a.dtype === "float32" && b.dtype === "float32" && inner === depth && depth > 0;
  const whole = batchA === batchB || batchA === 1 || batchB === 1;
  if (!plain || !whole || keepsPacked) return undefined;
  const outer = tf.broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  return {
    batch: Math.max(batchA, batchB),
    outShape: [...outer, rows, columns],
    rows,
    columns,
    depth,
    transposeA,
    transposeB,
    sharedA: batchA === 1,
    sharedB: batchB === 1,
  };
}

function multiply(heap: WasmHeap, inputs: Inputs, product: Product): TensorInfo {
  const { batch, outShape, rows, columns, depth, transposeA, transposeB, sharedA, sharedB } = product;
  const out = heap.output(outShape);
  const scratch = heap.scratch(heap.kernels.gemmScratch());
  const a = heap.addressOf(input(inputs, "a"));
  const b = heap.addressOf(input(inputs, "b"));
  const c = heap.addressOf(out);
  for (let i = 0; i < batch; i += 1) {
    heap.kernels.gemm(
      Number(transposeA),
      Number(transposeB),
      rows,
      columns,
      depth,
      a + (sharedA ? 0 : i * rows * depth * 4),
      transposeA ? rows : depth,
      b + (sharedB ? 0 : i * depth * columns * 4),
      transposeB ? depth : columns,
      c + i * rows * columns * 4,
      columns,
      0,
      scratch,
    );
  }
  return out;
}
