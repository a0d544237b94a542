/** DepthToSpace's gradient, its inverse, which tfjs lacks: what sub-pixel convolutions (Shi et al., 2016) train through. */
import tf from "#tfjs";
import { one } from "./kernel-inputs.ts";

export const depthToSpaceGradient: tf.GradConfig = {
  kernelName: "DepthToSpace",
  gradFunc(dys, _saved, { blockSize, dataFormat }) {
    if (dataFormat !== "NHWC") throw new Error(`depthToSpace has a gradient for NHWC only, found ${dataFormat}`);
    const [dy, block] = [one(dys), Number(blockSize)];
    const [samples = 0, height = 0, width = 0, channels = 0] = dy.shape;
    const blocks = tf.reshape(dy, [samples, height / block, block, width / block, block, channels]);
    const shape = [samples, height / block, width / block, block * block * channels];
    return { x: () => tf.reshape(tf.transpose(blocks, [0, 1, 3, 2, 4, 5]), shape) };
  },
};
