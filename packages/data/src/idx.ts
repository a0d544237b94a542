/**
 * IDX, the file format of MNIST and its relatives (http://yann.lecun.com/exdb/mnist/).
 *
 *     0 0 08 d        magic: two zeros, the element type (08: unsigned byte), the number of dimensions
 *     d x uint32      the dimensions, big-endian, outermost first
 *     bytes           the elements, row-major, to the end of the file
 *
 * A file may be gzipped; its first two bytes say so, whatever it is called. What a header promises is never allocated before the
 * bytes are known to be there: a plain file is held against its size first, and a gzipped one is inflated no further than one piece
 * past what its header asks for.
 */
import { type FileHandle, open } from "node:fs/promises";
import { createGunzip } from "node:zlib";
import { DataError } from "./data-error.ts";

/** The contents of an IDX file of unsigned bytes. */
export interface Idx {
  /** One to four dimensions, outermost first. */
  readonly dims: readonly number[];
  /** Row-major, as many as the product of `dims`; shared, so that threads see it without a copy. */
  readonly data: Uint8Array<SharedArrayBuffer>;
}

interface Header {
  readonly dims: readonly number[];
  readonly headerBytes: number;
  readonly fileBytes: number;
}

const MOST_DIMS = 4;
const MOST_HEADER_BYTES = 4 + 4 * MOST_DIMS;
const MOST_DATA_BYTES = 2 ** 31;
const READ_BYTES = 2 ** 26;
const INFLATE_BYTES = 2 ** 18;

/**
 * Reads an IDX file of unsigned bytes, plain or gzipped.
 *
 * @throws DataError FILE_MISSING, FILE_UNREADABLE, IDX_BAD_MAGIC, IDX_BAD_GZIP, IDX_TRUNCATED, IDX_TRAILING, IDX_TOO_LARGE
 */
export async function readIdx(path: string): Promise<Idx> {
  const file = await openFile(path);
  try {
    const stat = await file.stat();
    if (!stat.isFile())
      throw new DataError("FILE_UNREADABLE", `expected a file at ${path}, found something else there`);
    const head = new Uint8Array(MOST_HEADER_BYTES);
    const found = head.subarray(0, await fill(file, head, 0));
    const gzipped = found[0] === 0x1f && found[1] === 0x8b;
    return gzipped ? await inflate(file, path, stat.size) : await readPlain(file, path, found, stat.size);
  } finally {
    await file.close();
  }
}

async function readPlain(file: FileHandle, path: string, head: Uint8Array, fileBytes: number): Promise<Idx> {
  const header = parseHeader(head, path);
  checkLength(header, fileBytes, path);
  const data = new Uint8Array(new SharedArrayBuffer(header.fileBytes - header.headerBytes));
  const read = await fill(file, data, header.headerBytes);
  checkLength(header, header.headerBytes + read, path);
  return { dims: header.dims, data };
}

async function inflate(file: FileHandle, path: string, gzippedBytes: number): Promise<Idx> {
  if (gzippedBytes > MOST_DATA_BYTES) throw tooLarge(path, `${gzippedBytes} gzipped bytes`);
  const gzipped = new Uint8Array(gzippedBytes);
  const gunzip = createGunzip({ chunkSize: INFLATE_BYTES });
  gunzip.end(gzipped.subarray(0, await fill(file, gzipped, 0)));

  const pieces: Buffer[] = [];
  let bytes = 0;
  let header: Header | undefined;
  try {
    for await (const piece of gunzip as AsyncIterable<Buffer>) {
      pieces.push(piece);
      bytes += piece.length;
      if (header === undefined && bytes >= MOST_HEADER_BYTES) header = parseHeader(Buffer.concat(pieces), path);
      if (header !== undefined && bytes > header.fileBytes) checkLength(header, bytes, path);
    }
  } catch (error) {
    throw inflateError(error, path, bytes, header);
  }
  header ??= parseHeader(Buffer.concat(pieces), path);
  checkLength(header, bytes, path);

  const data = new Uint8Array(new SharedArrayBuffer(header.fileBytes - header.headerBytes));
  let at = -header.headerBytes;
  for (const piece of pieces) {
    data.set(piece.subarray(Math.max(0, -at)), Math.max(0, at));
    at += piece.length;
  }
  return { dims: header.dims, data };
}

function parseHeader(head: Uint8Array, path: string): Header {
  const rank = head[3] ?? 0;
  if (head.length < 4) throw truncated(path, "at least 4 bytes", head.length);
  if (head[0] !== 0 || head[1] !== 0 || head[2] !== 8 || rank < 1 || rank > MOST_DIMS) {
    const magic = Buffer.from(head.subarray(0, 4)).toString("hex");
    const expected = `000008 and 01 to 0${MOST_DIMS} (unsigned bytes, 1 to ${MOST_DIMS} dimensions)`;
    throw new DataError(
      "IDX_BAD_MAGIC",
      `expected ${expected} at the start of ${path}, found ${magic}: not an IDX file`,
    );
  }
  const headerBytes = 4 + 4 * rank;
  if (head.length < headerBytes) throw truncated(path, `a header of ${headerBytes} bytes`, head.length);
  const view = new DataView(head.buffer, head.byteOffset, headerBytes);
  const dims = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  const dataBytes = dims.reduce((product, dim) => product * dim, 1);
  if (dataBytes > MOST_DATA_BYTES) throw tooLarge(path, `a header for ${dims.join(" x ")} elements`);
  return { dims, headerBytes, fileBytes: headerBytes + dataBytes };
}

function checkLength({ dims, fileBytes }: Header, found: number, path: string): void {
  const expected = `${fileBytes} bytes (header and ${dims.join(" x ")} elements)`;
  if (found < fileBytes) throw truncated(path, expected, found);
  if (found > fileBytes) {
    throw new DataError(
      "IDX_TRAILING",
      `expected ${expected} in ${path}, found ${found} or more: fetch the file again`,
    );
  }
}

function truncated(path: string, expected: string, found: number | string, options?: ErrorOptions): DataError {
  return new DataError(
    "IDX_TRUNCATED",
    `expected ${expected} in ${path}, found ${found}: fetch the file again`,
    options,
  );
}

function tooLarge(path: string, found: string): DataError {
  return new DataError("IDX_TOO_LARGE", `expected at most ${MOST_DATA_BYTES} bytes in ${path}, found ${found}`);
}

function inflateError(error: unknown, path: string, bytes: number, header: Header | undefined): unknown {
  const code = codeOf(error);
  // zlib's word for a gzip stream that stops in the middle.
  if (code === "Z_BUF_ERROR") {
    const expected = header === undefined ? "a whole gzip stream" : `${header.fileBytes} inflated bytes`;
    return truncated(path, expected, `a stream that stops after ${bytes} or some more`, { cause: error });
  }
  if (code === undefined || !code.startsWith("Z_")) return error;
  const reason = error instanceof Error ? error.message : code;
  return new DataError(
    "IDX_BAD_GZIP",
    `expected a sound gzip stream in ${path}, found "${reason}": fetch the file again`,
    {
      cause: error,
    },
  );
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, "r");
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT")
      throw new DataError("FILE_MISSING", `expected an IDX file at ${path}, found nothing`, { cause: error });
    throw new DataError("FILE_UNREADABLE", `expected to read ${path}, found ${code ?? error}`, { cause: error });
  }
}

/** Reads from `position` until `into` is full or the file ends; returns the bytes read. */
async function fill(file: FileHandle, into: Uint8Array, position: number): Promise<number> {
  let at = 0;
  while (at < into.length) {
    const { bytesRead } = await file.read(into, at, Math.min(READ_BYTES, into.length - at), position + at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return at;
}

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || error instanceof DataError || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
