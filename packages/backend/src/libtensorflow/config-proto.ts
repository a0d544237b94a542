import type { Precision } from "../compute-backend.ts";

/**
 * Serialised tensorflow.ConfigProto messages (tensorflow/core/protobuf/config.proto), written by hand: a tag is field << 3 | wire type.
 */
const varint = (field: number, value: number): number[] => [field << 3, value];
const message = (field: number, body: readonly number[]): number[] => [(field << 3) | 2, body.length, ...body];

/**
 * A compute thread's context: intra_op_parallelism_threads (2) = 1 and inter_op_parallelism_threads (5) = 1, so that a gradient's bits depend on
 * nothing but its inputs. On the CPU, device_count (1) hides GPUs; on a GPU, of gpu_options (6) allow_growth (4) takes memory as it is needed
 * and visible_device_list (5) leaves one.
 * @param gpu its number; null: the CPU
 */
export function contextConfig(gpu: number | null): Uint8Array {
  const gpuCount = [...message(1, [...Buffer.from("GPU")]), ...varint(2, 0)];
  const devices =
    gpu === null ? message(1, gpuCount) : message(6, [...varint(4, 1), ...message(5, [...Buffer.from(String(gpu))])]);
  return Uint8Array.from([...devices, ...varint(2, 1), ...varint(5, 1)]);
}

/**
 * Convolutions and products of matrices in the precision, sums and statistics in float32: auto_mixed_precision_onednn_bfloat16 (31) or
 * auto_mixed_precision (23) = ON (1). Where the device does not have it, the graph silently stays as it is.
 */
const rewrites: Readonly<Record<Precision, readonly number[]>> = {
  float32: [],
  bfloat16: [0xf8, 0x01, 1],
  float16: [0xb8, 0x01, 1],
};

/** min_graph_nodes (17) = 1: by default graphs of fewer than four nodes are left as they are, in float32 too. */
const smallGraphsToo = [0x88, 0x01, 1];

/** A captured function's call: rewrite_options (10) in graph_options (10) switch Grappler's optimisers on. */
export const callConfig = (precision: Precision): Uint8Array =>
  Uint8Array.from(message(10, message(10, [...smallGraphsToo, ...rewrites[precision]])));
