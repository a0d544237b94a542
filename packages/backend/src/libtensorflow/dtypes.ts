/** tensorflow/core/framework/types.proto, the part that tfjs knows plus what keyed random numbers need. */
export const dataTypes = {
  float: 1,
  int32: 3,
  uint8: 4,
  string: 7,
  complex64: 8,
  int64: 9,
  bool: 10,
  half: 19,
  resource: 20,
  uint64: 23,
} as const;

const bytesOf = new Map<number, number>([
  [dataTypes.float, 4],
  [dataTypes.int32, 4],
  [dataTypes.uint8, 1],
  [dataTypes.complex64, 8],
  [dataTypes.int64, 8],
  [dataTypes.bool, 1],
  [dataTypes.uint64, 8],
]);

/** Bytes of one element; undefined for types without a fixed size. */
export const elementBytes = (dtype: number): number | undefined => bytesOf.get(dtype);
