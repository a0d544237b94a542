/** The stream of `../keyed-random.ts` from our own Philox, number for number TensorFlow's (normal ones to the last bits). */
import tf from "#tfjs";
import type { RandomKey } from "../compute-backend.ts";
import { type Distribution, drawStart, philoxLanes, type StepDraws } from "../keyed-random.ts";
import { size } from "./kernel-registry.ts";
import type { WasmHeap } from "./wasm-backend.ts";

/** The draws of one execution of a body, in its order. */
export class KeyedDraws implements StepDraws {
  readonly #heap: WasmHeap;
  readonly #random: RandomKey;
  #index = 0;

  constructor(heap: WasmHeap, random: RandomKey) {
    this.#heap = heap;
    this.#random = random;
  }

  draw(distribution: Distribution, shape: readonly number[]): tf.Tensor {
    const heap = this.#heap;
    const { key, counter, dropped } = drawStart(this.#random, this.#index, size(shape.slice(1)));
    this.#index += 1;
    const elements = size(shape);
    const tensor = heap.output(shape);
    const groups = Math.ceil((dropped + elements) / philoxLanes);
    const make = distribution === "uniform" ? heap.kernels.uniforms : heap.kernels.normals;
    // Whole groups of four are made; they lie in the tensor where they fit it exactly.
    const whole = dropped === 0 && elements % philoxLanes === 0;
    const to = heap.addressOf(tensor);
    const made = whole ? to : heap.scratch(groups * philoxLanes * 4);
    make(made, groups, key, ...counter);
    if (!whole) heap.bytes.copyWithin(to, made + dropped * 4, made + (dropped + elements) * 4);
    return tf.engine().makeTensorFromTensorInfo(tensor);
  }
}
