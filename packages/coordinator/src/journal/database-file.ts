/**
 * Reads the journal out of a database file without opening the database.
 *
 * LMDB trusts its file: a page number that points outside it, or a size that is too large, ends the process (SIGBUS, SIGSEGV), and a page that is both free
 * and in use is written over later. So everything that LMDB will follow is checked first: both meta pages, the two trees of the newer one (the list of free
 * pages, and the data: one value under one key), and that no page is used twice or is free and used. The value has a checksum of its own.
 *
 * The file's form (LMDB data version 2 as lmdb-js has it, 64 bits, little-endian): pages; the first two are meta pages, written in turn, so that the
 * transaction's number tells which one is newer and that none is missing. A page begins with number, transaction, padding, flags, and the bounds of its free
 * space; then 16-bit offsets of its nodes, which fill it from the end. A value that does not fit has overflow pages. The free list of a transaction is a
 * count and as many words: 0 is nothing, n is page n, -n says that the word after it begins a run of n pages.
 */
const HEADER_BYTES = 24;
const MAGIC = 0xbeefc0de;
const VERSION = 2;
const NONE = 0xffff_ffff_ffff_ffffn;
const LEAF = 0x02;
const OVERFLOW = 0x04;
const META = 0x08;
/** Far more than a journal can need; its map grows with its pages. */
const MAX_MAP_BYTES = 2 ** 30;

/** The file is not what LMDB wrote; `message` says what was found. */
export class DamagedFile extends Error {}

interface Tree {
  readonly at: number;
  readonly root: bigint;
}

interface Meta {
  readonly pageBytes: number;
  readonly lastPage: number;
  readonly transaction: number;
  readonly free: Tree;
  readonly main: Tree;
}

interface Node {
  readonly key: Buffer;
  readonly value: Buffer;
}

/**
 * The value under the file's one key, or null where nothing was ever written.
 *
 * @throws DamagedFile
 */
export function readDatabaseFile(file: Buffer, key: string): string | null {
  const meta = newerMeta(file);
  if (meta.transaction === 0) return null;
  const used = new Set<number>();
  const main = readTree(file, meta, meta.main, used);
  const free = readTree(file, meta, meta.free, used);
  checkFreePages(free, meta, used);
  const [node] = main;
  expect(main.length === 1 && node !== undefined && node.key.toString("latin1") === key, "other keys than its own");
  return node.value.toString();
}

function newerMeta(file: Buffer): Meta {
  const first = readMeta(file, 0, 0);
  const second = readMeta(file, 1, first.pageBytes);
  const newer = second.transaction > first.transaction ? second : first;
  const older = newer === first ? second : first;
  expect(second.pageBytes === first.pageBytes, "meta pages that disagree");
  const inTurn = newer.transaction % 2 === (newer === second ? 1 : 0) && older.transaction === newer.transaction - 1;
  expect(inTurn || (newer.transaction === 0 && older.transaction === 0), "meta pages that do not follow each other");
  return newer;
}

function readMeta(file: Buffer, page: number, at: number): Meta {
  expect(file.length >= at + 4096, `${file.length} bytes, too few for a database`);
  expect(u64(file, at) === page && u64(file, at + 8) === 0, "a meta page of another number");
  expect(file.readUInt16LE(at + 16) === 0 && file.readUInt16LE(at + 18) === META, "no meta page");
  expect(file.readUInt32LE(at + 24) === MAGIC && file.readUInt32LE(at + 28) === VERSION, "no database of its kind");
  const pageBytes = file.readUInt32LE(at + 48);
  expect([4096, 8192, 16384, 32768].includes(pageBytes), `pages of ${pageBytes} bytes`);
  // Kinds of the two trees: the free list's keys are integers.
  expect(file.readUInt16LE(at + 52) === 8 && file.readUInt16LE(at + 100) === 0, "trees of another kind");
  expect(u64(file, at + 32) === 0 && file.readUInt32LE(at + 96) === 0, "a meta page with other fields");
  const mapBytes = u64(file, at + 40);
  const lastPage = u64(file, at + 144);
  expect(mapBytes <= MAX_MAP_BYTES && mapBytes % pageBytes === 0, `a map of ${mapBytes} bytes`);
  expect(lastPage >= 1 && (lastPage + 1) * pageBytes <= mapBytes, `a last page ${lastPage}`);
  const tree = (offset: number) => ({ at: at + offset, root: file.readBigUInt64LE(at + offset + 40) });
  return { pageBytes, lastPage, transaction: u64(file, at + 152), free: tree(48), main: tree(96) };
}

/** The nodes of a tree of at most one page and overflow pages: the journal's have never more. */
function readTree(file: Buffer, meta: Meta, { at, root }: Tree, used: Set<number>): Node[] {
  const depth = file.readUInt16LE(at + 6);
  const isEmpty = root === NONE;
  const isShape = depth === (isEmpty ? 0 : 1) && u64(file, at + 8) === 0 && u64(file, at + 16) === depth;
  expect(isShape, "a tree of another shape");
  const before = used.size;
  const nodes = isEmpty ? [] : readLeaf(file, meta, toPage(root), used);
  const overflowPages = used.size - before - depth;
  expect(u64(file, at + 24) === overflowPages && u64(file, at + 32) === nodes.length, "a tree that is miscounted");
  return nodes;
}

function readLeaf(file: Buffer, meta: Meta, page: number, used: Set<number>): Node[] {
  const leaf = takePages(file, meta, page, 1, LEAF, used);
  const lower = leaf.readUInt16LE(20);
  const upper = leaf.readUInt16LE(22);
  const body = leaf.subarray(HEADER_BYTES);
  expect(lower > 0 && lower % 2 === 0 && lower <= upper && upper <= body.length, "a page with wrong bounds");
  const starts = Array.from({ length: lower / 2 }, (_, index) => body.readUInt16LE(2 * index));
  const ends = new Map<number, number>();
  const nodes = starts.map((start) => {
    expect(start >= upper && start + 8 <= body.length, "an entry outside its page");
    const valueBytes = body.readUInt32LE(start);
    const flags = body.readUInt16LE(start + 4);
    const keyBytes = body.readUInt16LE(start + 6);
    expect(flags === 0 || flags === 1, "an entry of another kind");
    const valueAt = start + 8 + keyBytes;
    const end = valueAt + (flags === 0 ? valueBytes : HEADER_BYTES);
    expect(end <= body.length, "an entry that ends outside its page");
    ends.set(start, end + (end % 2));
    const key = body.subarray(start + 8, valueAt);
    if (flags === 0) return { key, value: body.subarray(valueAt, end) };
    return { key, value: readOverflow(file, meta, body.subarray(valueAt, end), valueBytes, used) };
  });
  // The entries fill the page's end without gap or overlap.
  let next: number | undefined = upper;
  for (let left = starts.length; left > 0; left--) next = next === undefined ? undefined : ends.get(next);
  expect(next === body.length && ends.size === starts.length, "entries that overlap");
  return nodes;
}

function readOverflow(file: Buffer, meta: Meta, reference: Buffer, bytes: number, used: Set<number>): Buffer {
  const count = Math.ceil((HEADER_BYTES + bytes) / meta.pageBytes);
  const pages = takePages(file, meta, toPage(reference.readBigUInt64LE()), count, OVERFLOW, used);
  const agrees = pages.readUInt32LE(20) === count && u64(reference, 16) === count;
  expect(agrees && u64(pages, 8) === u64(reference, 8), "a value whose pages are miscounted");
  return pages.subarray(HEADER_BYTES, HEADER_BYTES + bytes);
}

function takePages(file: Buffer, meta: Meta, page: number, count: number, kind: number, used: Set<number>): Buffer {
  const { pageBytes, lastPage, transaction } = meta;
  expect(page >= 2 && page + count - 1 <= lastPage, `a page ${page} of ${lastPage}`);
  expect((page + count) * pageBytes <= file.length, `${file.length} bytes, which end before page ${page}`);
  for (let index = page; index < page + count; index++) takePage(index, used);
  const bytes = file.subarray(page * pageBytes, (page + count) * pageBytes);
  const writtenIn = u64(bytes, 8);
  expect(u64(bytes, 0) === page && writtenIn >= 1 && writtenIn <= transaction, `page ${page} with another's header`);
  expect(bytes.readUInt16LE(16) === 0 && bytes.readUInt16LE(18) === kind, `page ${page} of another kind`);
  return bytes;
}

function takePage(page: number, used: Set<number>): void {
  expect(!used.has(page), `page ${page} used twice`);
  used.add(page);
}

function checkFreePages(entries: readonly Node[], { lastPage, transaction }: Meta, used: Set<number>): void {
  let former = 0;
  for (const { key, value } of entries) {
    expect(key.length === 8 && value.length >= 8 && value.length % 8 === 0, "a list of free pages of a wrong size");
    const freedIn = u64(key, 0);
    expect(freedIn > former && freedIn <= transaction, "lists of free pages in a wrong order");
    former = freedIn;
    const count = u64(value, 0);
    expect(count < value.length / 8, "a list of free pages that is cut");
    for (let index = 1; index <= count; index++) {
      const word = Number(value.readBigInt64LE(8 * index));
      if (word === 0) continue;
      if (word < 0) expect(++index <= count && -word <= lastPage, "a list of free pages that is cut");
      const page = toPage(value.readBigUInt64LE(8 * index));
      const pages = word < 0 ? -word : 1;
      expect(page >= 2 && page + pages - 1 <= lastPage, `a free page ${page} of ${lastPage}`);
      for (let free = page; free < page + pages; free++) takePage(free, used);
    }
  }
}

function u64(bytes: Buffer, at: number): number {
  return toPage(bytes.readBigUInt64LE(at));
}

function toPage(word: bigint): number {
  expect(word <= Number.MAX_SAFE_INTEGER, `a number ${word}`);
  return Number(word);
}

function expect(isAsExpected: boolean, found: string): asserts isAsExpected {
  if (!isAsExpected) throw new DamagedFile(found);
}
