/** Cumsum's gradient, along any axis: tfjs permutes that of an axis other than the last one more time than it should. */
import tf from "#tfjs";
import { one } from "./kernel-inputs.ts";

export const cumsumGradient: tf.GradConfig = {
  kernelName: "Cumsum",
  gradFunc: (dy, _saved, { axis, exclusive, reverse }) => ({
    x: () => tf.cumsum(one(dy), Number(axis), exclusive === true, reverse !== true),
  }),
};
