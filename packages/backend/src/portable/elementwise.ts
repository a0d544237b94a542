/** What models do float by float and tfjs does slowly, and cross-entropy. */
import { input, type Register, size } from "./kernel-registry.ts";
import type { WasmHeap } from "./wasm-backend.ts";

export function registerElementwise(heap: WasmHeap, register: Register): void {
  const { kernels } = heap;
  register("ReluGrad", () => (inputs) => {
    const [dy, y] = [input(inputs, "dy"), input(inputs, "y")];
    const out = heap.output(dy.shape);
    kernels.reluGradient(heap.addressOf(out), heap.addressOf(dy), heap.addressOf(y), size(dy.shape));
    return out;
  });
  // tfjs's copies, and every tensor that is saved for a gradient is one; no kernel writes to its inputs, so sharing does.
  register("Identity", () => (inputs) => {
    const { dataId, shape, dtype } = input(inputs, "x");
    heap.backend.incRef(dataId);
    return { dataId, shape, dtype };
  });
  // tfjs broadcasts by computing an index for each element, six times slower.
  register("Add", (original) => (inputs, attributes) => {
    const [a, b] = [input(inputs, "a"), input(inputs, "b")];
    const channels = a.shape.at(-1) ?? 0;
    const isBias = a.shape.length > 1 && b.shape.length === 1 && b.shape[0] === channels && channels > 0;
    if (!isBias || a.dtype !== "float32" || b.dtype !== "float32") return original(inputs, attributes);
    const out = heap.output(a.shape);
    const rows = size(a.shape) / channels;
    kernels.addBias(heap.addressOf(out), heap.addressOf(a), heap.addressOf(b), rows, channels, 0);
    return out;
  });
  // Comparisons with one number make the masks of dropout and of activations' gradients.
  ["GreaterEqual", "Greater", "LessEqual", "Less"].forEach((name, relation) => {
    register(name, (original) => (inputs, attributes) => {
      const [a, b] = [input(inputs, "a"), input(inputs, "b")];
      const isBound = size(b.shape) === 1 && b.shape.length <= a.shape.length;
      if (!isBound || a.dtype !== "float32" || b.dtype !== "float32") return original(inputs, attributes);
      const out = heap.output(a.shape, "bool");
      const bound = heap.float(b);
      kernels.compare(relation, heap.addressOf(out), heap.addressOf(a), bound, size(a.shape));
      return out;
    });
  });
  register("SparseSoftmaxCrossEntropyWithLogits", () => (inputs) => {
    const [logits, labels] = [input(inputs, "logits"), input(inputs, "labels")];
    const [rows = 0, classes = 0] = logits.shape;
    const losses = heap.output([rows]);
    const gradient = heap.output(logits.shape);
    const [to, slope] = [heap.addressOf(losses), heap.addressOf(gradient)];
    kernels.softmaxCrossEntropy(to, slope, heap.addressOf(logits), heap.addressOf(labels), rows, classes);
    return [losses, gradient];
  });
}
