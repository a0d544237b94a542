/** How a kernel of the `tensorflow` backend is written and put in the place of tfjs-node's own. */
import tf from "#tfjs";
import type { NodeJSKernelBackend } from "#tfjs-node-kernels";
import { attributeKinds, type OpAttribute } from "../../libtensorflow/attributes.ts";
import { dataTypes } from "../../libtensorflow/dtypes.ts";

export type Kernel = (
  inputs: tf.NamedTensorInfoMap,
  attrs: tf.NamedAttrMap,
  backend: NodeJSKernelBackend,
) => tf.TensorInfo | tf.TensorInfo[];

/** Registers a kernel; `make` is given the one that was there before, for the cases that the new one leaves to it. */
export type ReplaceKernel = (kernelName: string, make: (own: Kernel) => Kernel) => void;

export function kernelReplacer(backendName: string): ReplaceKernel {
  return (kernelName, make) => {
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
}

export const typeFlag = (name: string, value: number): OpAttribute => ({ name, type: attributeKinds.type, value });
export const flag = (name: string, value: boolean): OpAttribute => ({ name, type: attributeKinds.bool, value });
export const float: OpAttribute = typeFlag("T", dataTypes.float);
export const channelsLast: OpAttribute = { name: "data_format", type: attributeKinds.string, value: "NHWC" };
