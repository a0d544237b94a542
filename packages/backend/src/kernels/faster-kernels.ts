/**
 * Kernels and gradients that tfjs-node composes from several ops where TensorFlow has one. Each gives what tfjs's own gives
 * (`test/faster-kernels.test.ts` holds them against tfjs's CPU backend).
 */
import * as tf from "@tensorflow/tfjs";
import type { NodeJSKernelBackend } from "@tensorflow/tfjs-node-gpu/dist/nodejs_kernel_backend.js";
import { attributeKinds, type OpAttribute } from "../libtensorflow/attributes.ts";
import { dataTypes } from "../libtensorflow/dtypes.ts";

const float: OpAttribute = { name: "T", type: attributeKinds.type, value: dataTypes.float };
const flag = (name: string, value: boolean): OpAttribute => ({ name, type: attributeKinds.bool, value });
const channelsLast: OpAttribute = { name: "data_format", type: attributeKinds.string, value: "NHWC" };

type Kernel = (
  inputs: tf.NamedTensorInfoMap,
  attrs: tf.NamedAttrMap,
  backend: NodeJSKernelBackend,
) => tf.TensorInfo | tf.TensorInfo[];

/** Replaces kernels of the `tensorflow` backend; call once after tfjs-node's own are registered. */
export function registerFasterKernels(backendName: string): void {
  const replace = (kernelName: string, make: (own: Kernel) => Kernel) => {
    const present = tf.getKernel(kernelName, backendName);
    const own: Kernel = (inputs, attrs, backend) => present.kernelFunc({ inputs, attrs, backend });
    if (present) tf.unregisterKernel(kernelName, backendName);
    const kernel = make(own);
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc: ({ inputs, attrs, backend }) => kernel(inputs, attrs ?? {}, backend as NodeJSKernelBackend),
    });
  };

  replace(
    "ReluGrad",
    () =>
      ({ dy, y }, _attrs, backend) =>
        backend.executeSingleOutput("ReluGrad", [float], [some(dy), some(y)]),
  );
  tf.unregisterGradient("Relu");
  tf.registerGradient({
    kernelName: "Relu",
    outputsToSave: [true],
    gradFunc: (dy, [y]) => ({ x: () => tf.engine().runKernel("ReluGrad", { dy: one(dy), y: some(y) }) as tf.Tensor }),
  });

  // tfjs multiplies matrices as batches of one.
  replace("BatchMatMul", (own) => (inputs, attrs, backend) => {
    const a = some(inputs["a"]);
    const b = some(inputs["b"]);
    const ranksAre = (rank: number) => a.shape.length === rank && b.shape.length === rank;
    const batched = ranksAre(3) && a.shape[0] === 1 && b.shape[0] === 1;
    if (!(batched || ranksAre(2)) || a.dtype !== "float32" || b.dtype !== "float32") return own(inputs, attrs, backend);
    const matrix = (x: tf.TensorInfo) => (batched ? tf.reshape(x as tf.Tensor, x.shape.slice(1)) : x);
    const transposes = [
      flag("transpose_a", attrs["transposeA"] === true),
      flag("transpose_b", attrs["transposeB"] === true),
    ];
    const product = backend.executeSingleOutput("MatMul", [float, ...transposes], [matrix(a), matrix(b)]);
    return batched ? tf.reshape(product, [1, ...product.shape]) : product;
  });

  replace("Add", (own) => (inputs, attrs, backend) => {
    const a = some(inputs["a"]);
    const b = some(inputs["b"]);
    const isBias = b.shape.length === 1 && a.shape.length >= 2 && a.shape.at(-1) === b.shape[0];
    if (!isBias || a.dtype !== "float32" || b.dtype !== "float32") return own(inputs, attrs, backend);
    return backend.executeSingleOutput("BiasAdd", [float, channelsLast], [a, b]);
  });

  // The gradient of a bias: the sum over all dimensions but the last.
  replace("Sum", (own) => (inputs, attrs, backend) => {
    const x = some(inputs["x"]);
    const axes = tf.util.parseAxisParam((attrs["axis"] ?? null) as number[], x.shape);
    const rank = x.shape.length;
    const isBiasGradient = rank >= 2 && axes.length === rank - 1 && !axes.includes(rank - 1);
    if (!isBiasGradient || attrs["keepDims"] || x.dtype !== "float32") return own(inputs, attrs, backend);
    return backend.executeSingleOutput("BiasAddGrad", [float, channelsLast], [x]);
  });

  const labelsAreInt32: OpAttribute = { name: "Tlabels", type: attributeKinds.type, value: dataTypes.int32 };
  replace("SparseSoftmaxCrossEntropyWithLogits", () => ({ logits, labels }, _attrs, backend) => {
    const inputs = [some(logits), some(labels)];
    return backend.executeMultipleOutputs("SparseSoftmaxCrossEntropyWithLogits", [float, labelsAreInt32], inputs, 2);
  });
}

/**
 * Softmax cross-entropy of each sample, numerically stable for logits of any size: one op for value and gradient.
 * @param logits [samples, classes] float32
 * @param labels [samples] int32, each in 0..classes-1
 * @returns [samples] float32
 */
export function sparseSoftmaxCrossEntropy(logits: tf.Tensor2D, labels: tf.Tensor1D): tf.Tensor1D {
  const op = tf.customGrad((x: tf.Tensor | tf.GradSaveFunc, save: tf.Tensor | tf.GradSaveFunc) => {
    const outputs = tf.engine().runKernel("SparseSoftmaxCrossEntropyWithLogits", { logits: x as tf.Tensor, labels });
    const [losses, gradient] = outputs as [tf.Tensor, tf.Tensor];
    (save as tf.GradSaveFunc)([gradient]);
    return {
      value: losses,
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.mul(tf.expandDims(dy, 1), some(saved[0])),
    };
  });
  return op(logits) as tf.Tensor1D;
}

const one = (tensor: tf.Tensor | tf.Tensor[]): tf.Tensor => (Array.isArray(tensor) ? some(tensor[0]) : tensor);

function some<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new TypeError("a kernel was called without one of its inputs");
  return value;
}
