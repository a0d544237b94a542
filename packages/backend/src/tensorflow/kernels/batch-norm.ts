/** On the CPU the op sums plainly: with 65,536 values a channel, its results lie within 7e-5 of float64's, those of tfjs's composition within 2e-5. */
import { attributeKinds, type OpAttribute } from "../../libtensorflow/attributes.ts";
import { dataTypes } from "../../libtensorflow/dtypes.ts";
import { batchNormBackward, batchNormForward } from "../../ops/batch-norm.ts";
import { some } from "../../ops/kernel-inputs.ts";
import { channelsLast, flag, float, type ReplaceKernel, typeFlag } from "./kernel-registry.ts";

export function registerBatchNorm(replace: ReplaceKernel): void {
  const attributes = (epsilon: unknown): OpAttribute[] => [
    float,
    typeFlag("U", dataTypes.float),
    { name: "epsilon", type: attributeKinds.float, value: Number(epsilon) },
    channelsLast,
    flag("is_training", true),
  ];
  // The moving averages are not the op's business: it starts from none and takes the batch's moments as they are.
  const noAverage: OpAttribute = { name: "exponential_avg_factor", type: attributeKinds.float, value: 1 };
  replace(batchNormForward, () => ({ x, scale, offset, none }, { epsilon }, backend) => {
    const inputs = [some(x), some(scale), some(offset), some(none), some(none)];
    return backend.executeMultipleOutputs(batchNormForward, [...attributes(epsilon), noAverage], inputs, 6);
  });
  replace(batchNormBackward, () => ({ dy, x, scale, reserve1, reserve2, reserve3 }, { epsilon }, backend) => {
    const inputs = [dy, x, scale, reserve1, reserve2, reserve3].map(some);
    return backend.executeMultipleOutputs(batchNormBackward, attributes(epsilon), inputs, 5);
  });
}
