/** How the windows of convolutions and pooling lie over their input. */
import tf from "#tfjs";
import type { Attributes, Register } from "./kernel-registry.ts";

export type Geometry = tf.backend_util.Conv2DInfo;

type Shape4D = [number, number, number, number];
type Sides = [number, number];

/** What tfjs hands its kernels; parsed by tfjs's own ops. */
interface WindowAttributes {
  readonly strides: number | Sides;
  readonly dilations?: number | Sides;
  readonly pad: "same" | "valid" | number | [Sides, Sides, Sides, Sides];
  readonly dimRoundingMode?: "floor" | "round" | "ceil";
  readonly dataFormat?: "NHWC" | "NCHW";
}

export function convolutionOf(
  xShape: readonly number[],
  filterShape: readonly number[],
  attributes: Attributes,
  kind: "full" | "depthwise",
): Geometry {
  const { strides, dilations, pad, dimRoundingMode, dataFormat } = withExplicitPad(attributes);
  if (dataFormat === "NCHW") throw new Error("the portable backend convolves in NHWC only, found NCHW");
  return tf.backend_util.computeConv2DInfo(
    xShape as Shape4D,
    filterShape as Shape4D,
    strides,
    dilations ?? 1,
    pad,
    dimRoundingMode,
    kind === "depthwise",
  );
}

export function poolingOf(xShape: readonly number[], attributes: Attributes): Geometry {
  const { strides, pad, dimRoundingMode } = withExplicitPad(attributes);
  const filterSize = attributes["filterSize"] as number | Sides;
  return tf.backend_util.computePool2DInfo(xShape as Shape4D, filterSize, strides, 1, pad, dimRoundingMode);
}

/**
 * Of a padding in pixels tfjs computes the output's width as if filter and stride were square, while XNNPACK writes what the filter asks for, beyond the
 * tensor's end. Of a padding for each side both compute the same.
 */
export function registerPadding(register: Register): void {
  for (const name of ["Conv2D", "FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2D", "MaxPool", "AvgPool"]) {
    register(name, (original) => (inputs, attributes) => original(inputs, { ...withExplicitPad(attributes) }));
  }
}

function withExplicitPad(attributes: Attributes): WindowAttributes {
  const given = attributes as unknown as WindowAttributes;
  const { pad } = given;
  if (typeof pad !== "number" || pad === 0) return given;
  return {
    ...given,
    pad: [
      [0, 0],
      [pad, pad],
      [pad, pad],
      [0, 0],
    ],
  };
}

/** Byte offsets of each image in the input and in the output. */
export function forEachImage(geometry: Geometry, visit: (input: number, output: number) => void): void {
  const { batchSize, inHeight, inWidth, inChannels, outHeight, outWidth, outChannels } = geometry;
  for (let image = 0; image < batchSize; image += 1) {
    visit(image * inHeight * inWidth * inChannels * 4, image * outHeight * outWidth * outChannels * 4);
  }
}
