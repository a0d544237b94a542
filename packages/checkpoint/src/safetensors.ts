/**
 * The safetensors format, float32 only: a file that every framework reads, that runs no code, and that is the same bytes for the same tensors.
 *
 *     u64 little-endian   N, the header's length
 *     N bytes             JSON {name: {dtype, shape, data_offsets: [begin, end]}, __metadata__?: {string: string}}, padded with spaces
 *     the rest            the tensors' bytes, little-endian, row-major, back to back; offsets count from here
 *
 * Written: tensors in the order given, metadata sorted by key, no dates, padded so that the data starts at a multiple of 64 bytes (a cache
 * line; the reference pads to 8, and any padding is valid). Read: nothing is believed. The tensors must cover the data exactly, which
 * also rules out overlaps and hidden bytes.
 *
 * Source: https://huggingface.co/docs/safetensors (format and reference implementation).
 */
import { CheckpointError } from "./checkpoint-error.ts";
import { type HeaderObject, type HeaderValue, malformed, parseHeader } from "./safetensors-header.ts";

/** A float32 tensor with the name under which it is stored. */
export interface NamedTensor {
  /** Unique in its file; any Unicode but `__metadata__`. */
  readonly name: string;
  /** Sizes of the dimensions, outermost first; `[]` is a scalar. */
  readonly shape: readonly number[];
  /** Row-major; as many values as the shape's product. May be a view of shared memory. */
  readonly data: Float32Array;
}

/** What {@link decodeSafetensors} found. */
export interface DecodedSafetensors {
  /** In the order of their bytes in the file, which is the order in which they were given to be written. */
  readonly tensors: NamedTensor[];
  readonly metadata: Readonly<Record<string, string>>;
}

/** The reference implementation's bound on the header. */
const MAX_HEADER_BYTES = 100_000_000;
const LENGTH_BYTES = 8;
const DATA_ALIGNMENT = 64;
const BYTES_PER_FLOAT = 4;
const METADATA_KEY = "__metadata__";

/**
 * The file's bytes, in pieces to be written one after the other: the header, then a view of each tensor's own memory (nothing is copied, so
 * the tensors must not change until the pieces have been used).
 *
 * @throws CheckpointError `TENSOR_INVALID`, `SAFETENSORS_HEADER_TOO_LARGE`
 */
export function encodeSafetensors(
  tensors: readonly NamedTensor[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array[] {
  const names = new Set<string>();
  const members: string[] = [];
  const metadataKeys = Object.keys(metadata).sort();
  if (metadataKeys.length > 0) {
    // Put together by hand: an object would move keys that look like integers to the front.
    const pairs = metadataKeys.map(
      (key) => `${quote(key, "metadata key")}:${quote(metadata[key] ?? "", "metadata value")}`,
    );
    members.push(`"${METADATA_KEY}":{${pairs.join(",")}}`);
  }
  let end = 0;
  for (const tensor of tensors) {
    checkTensor(tensor, names);
    const begin = end;
    end += tensor.data.byteLength;
    members.push(
      `${quote(tensor.name, "tensor name")}:{"dtype":"F32","shape":[${tensor.shape.join(",")}],"data_offsets":[${begin},${end}]}`,
    );
  }
  const views = tensors
    .filter(({ data }) => data.length > 0)
    .map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return [encodeHeader(`{${members.join(",")}}`), ...views];
}

function encodeHeader(json: string): Uint8Array {
  const text = new TextEncoder().encode(json);
  const padded = Math.ceil((LENGTH_BYTES + text.length) / DATA_ALIGNMENT) * DATA_ALIGNMENT - LENGTH_BYTES;
  if (padded > MAX_HEADER_BYTES) throw headerTooLarge(padded);
  const header = new Uint8Array(LENGTH_BYTES + padded).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(padded), true);
  header.set(text, LENGTH_BYTES);
  return header;
}

function quote(text: string, what: string): string {
  if (text.isWellFormed()) return JSON.stringify(text);
  throw new CheckpointError(
    "TENSOR_INVALID",
    `${what} ${JSON.stringify(text)} holds half a Unicode character, which no file can carry: rename it`,
  );
}

function checkTensor({ name, shape, data }: NamedTensor, names: Set<string>): void {
  const where = `tensor ${JSON.stringify(name)}`;
  if (name === METADATA_KEY) {
    throw new CheckpointError(
      "TENSOR_INVALID",
      `${where}: the safetensors format keeps this name for itself; rename it`,
    );
  }
  if (names.has(name)) {
    throw new CheckpointError("TENSOR_INVALID", `${where} is there twice; names in one file must differ: rename one`);
  }
  names.add(name);
  const elements = elementsOf(shape);
  if (elements !== data.length) {
    const expected =
      elements === undefined ? "a shape of whole numbers >= 0 with a product below 2^53" : `${elements} values`;
    throw new CheckpointError(
      "TENSOR_INVALID",
      `${where} of shape [${shape.join(", ")}]: expected ${expected}, found ${data.length} values; correct its shape or its data`,
    );
  }
}

/** The product of a shape, or undefined where it is none (a size that is no whole number >= 0, or an overflow). */
function elementsOf(shape: readonly number[]): number | undefined {
  let product = 1;
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0) return undefined;
    product *= size;
    if (!Number.isSafeInteger(product)) return undefined;
  }
  return product;
}

function headerTooLarge(bytes: number | bigint): CheckpointError {
  return new CheckpointError(
    "SAFETENSORS_HEADER_TOO_LARGE",
    `a safetensors header has at most ${MAX_HEADER_BYTES} bytes, found ${bytes}: the file is damaged or no safetensors file, or it names too many tensors`,
  );
}

/**
 * Reads a whole file. The tensors' data are views of `bytes` wherever it is aligned for float32 (it is for a buffer just read from a
 * file), else copies: treat them as owning `bytes`.
 *
 * @throws CheckpointError `SAFETENSORS_MALFORMED`, `SAFETENSORS_HEADER_TOO_LARGE`, `SAFETENSORS_DTYPE_UNSUPPORTED`
 */
export function decodeSafetensors(bytes: Uint8Array): DecodedSafetensors {
  if (bytes.length < LENGTH_BYTES) {
    throw malformed(`expected at least ${LENGTH_BYTES} bytes, found ${bytes.length}`);
  }
  const headerBytes = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (headerBytes > MAX_HEADER_BYTES) throw headerTooLarge(headerBytes);
  const dataStart = LENGTH_BYTES + Number(headerBytes);
  if (dataStart > bytes.length) {
    throw malformed(`its header should end at byte ${dataStart}, but the file ends at byte ${bytes.length}`);
  }
  const header = parseHeader(decodeText(bytes.subarray(LENGTH_BYTES, dataStart)));
  const places = [...header].filter(([name]) => name !== METADATA_KEY).map(([name, value]) => placeOf(name, value));
  // Stable: tensors without values share an offset and keep the header's order.
  places.sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkCoverage(places, bytes.length - dataStart);
  return {
    tensors: places.map(({ name, shape, begin, end }) => ({
      name,
      shape,
      data: floatsOf(bytes.subarray(dataStart + begin, dataStart + end)),
    })),
    metadata: metadataOf(header),
  };
}

function decodeText(bytes: Uint8Array): string {
  try {
    // A copy, as TextDecoder refuses shared memory.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(new Uint8Array(bytes));
  } catch (error) {
    throw malformed("its header is not UTF-8", error);
  }
}

interface Place {
  readonly name: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

function placeOf(name: string, value: HeaderValue): Place {
  const where = `tensor ${JSON.stringify(name)}`;
  if (!(value instanceof Map)) throw malformed(`${where}: expected an object with dtype, shape and data_offsets`);
  const unknown = [...value.keys()].find((key) => !["dtype", "shape", "data_offsets"].includes(key));
  if (unknown !== undefined) throw malformed(`${where} has an unknown field ${JSON.stringify(unknown)}`);
  const dtype = value.get("dtype");
  if (typeof dtype !== "string") throw malformed(`${where}: expected a dtype`);
  const shape = numbersOf(value.get("shape"));
  const offsets = numbersOf(value.get("data_offsets"));
  const [begin, end] = offsets ?? [];
  if (offsets?.length !== 2 || begin === undefined || end === undefined || begin > end) {
    throw malformed(`${where}: expected data_offsets [begin, end] with begin <= end, found [${offsets ?? ""}]`);
  }
  const elements = shape && elementsOf(shape);
  if (shape === undefined || elements === undefined) {
    throw malformed(`${where}: expected a shape with a product below 2^53, found [${shape ?? ""}]`);
  }
  if (dtype !== "F32") {
    throw new CheckpointError(
      "SAFETENSORS_DTYPE_UNSUPPORTED",
      `${where}: expected dtype F32, found ${JSON.stringify(dtype)}; convert the file to float32 first`,
    );
  }
  if (elements * BYTES_PER_FLOAT !== end - begin) {
    throw malformed(
      `${where} of shape [${shape}] takes ${elements * BYTES_PER_FLOAT} bytes, its data_offsets ${end - begin}`,
    );
  }
  return { name, shape, begin, end };
}

function numbersOf(value: HeaderValue | undefined): readonly number[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const numbers = value.filter((item): item is number => typeof item === "number");
  return numbers.length === value.length ? numbers : undefined;
}

function checkCoverage(places: readonly Place[], dataBytes: number): void {
  let covered = 0;
  for (const { name, begin, end } of places) {
    if (begin !== covered) {
      throw malformed(
        `tensor ${JSON.stringify(name)} should begin at offset ${covered}, where the one before ends, found ${begin}`,
      );
    }
    covered = end;
  }
  if (covered !== dataBytes) throw malformed(`its tensors take ${covered} bytes, its data has ${dataBytes}`);
}

function metadataOf(header: HeaderObject): Record<string, string> {
  const value = header.get(METADATA_KEY) ?? new Map<string, HeaderValue>();
  if (!(value instanceof Map)) throw malformed(`expected ${METADATA_KEY} to be an object`);
  const pairs: [string, string][] = [];
  for (const [key, text] of value) {
    if (typeof text !== "string") throw malformed(`expected ${METADATA_KEY} ${JSON.stringify(key)} to be a string`);
    pairs.push([key, text]);
  }
  // fromEntries defines own properties: a key `__proto__` is data like any other.
  return Object.fromEntries(pairs);
}

function floatsOf(bytes: Uint8Array): Float32Array {
  const length = bytes.length / BYTES_PER_FLOAT;
  if (bytes.byteOffset % BYTES_PER_FLOAT === 0) return new Float32Array(bytes.buffer, bytes.byteOffset, length);
  return new Float32Array(new Uint8Array(bytes).buffer, 0, length);
}
