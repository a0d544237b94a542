/** The folder around the journal's database: what is in it, setting it aside, deleting it, and what has to be there before LMDB may open it. */
import { closeSync, constants, fstatSync, openSync, writeSync } from "node:fs";
import { lstat, open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DamagedFile, readDatabaseFile } from "./database-file.ts";
import { decodeJournal } from "./journal-contents.ts";
import { corrupt } from "./journal-error.ts";

/** The journal's key in its database. */
export const journalKey = "journal";

const MAX_FILE_BYTES = 64 * 2 ** 20;
/** LMDB's lock file for 126 readers, and room. */
const LOCK_BYTES = 16_384;

/** "none" also where a coordinator died before its first write: nobody has been told anything yet. @throws JournalError `JOURNAL_CORRUPT` */
export async function inspectFolder(folder: string): Promise<"none" | "sound"> {
  let file = await readDataFile(folder);
  for (;;) {
    try {
      return inspect(file);
    } catch (error) {
      if (!(error instanceof DamagedFile)) throw error;
      // A former owner that woke up just now may have written while it was read: what stays as it is is damaged.
      const again = await readDataFile(folder);
      if (file === null || again?.equals(file)) throw corrupt(folder, error.message, { cause: error });
      file = again;
    }
  }
}

function inspect(file: Buffer | null): "none" | "sound" {
  const text = file === null || file.length === 0 ? null : readDatabaseFile(file, journalKey);
  if (text === null) return "none";
  if (decodeJournal(text) === null) throw new DamagedFile("a value that its checksum does not fit");
  return "sound";
}

async function readDataFile(folder: string): Promise<Buffer | null> {
  const path = join(folder, "data.mdb");
  const found = await stat(path).catch(nullIfMissing);
  if (found === null) return null;
  if (!found.isFile()) throw corrupt(folder, "no file at data.mdb");
  if (found.size > MAX_FILE_BYTES) throw corrupt(folder, `${found.size} bytes in data.mdb`);
  return await readFile(path);
}

/** @returns the path at which the folder is now */
export async function setAside(folder: string): Promise<string> {
  for (let number = 1; ; number++) {
    const aside = `${folder}.corrupt-${number}`;
    if ((await lstat(aside).catch(nullIfMissing)) !== null) continue;
    await rename(folder, aside);
    return aside;
  }
}

/** Deletes the folder so that no part of it is ever seen under its name. A crash leaves `state.gone`, which the next call deletes. */
export async function removeFolder(folder: string): Promise<void> {
  const gone = `${folder}.gone`;
  await rm(gone, { recursive: true, force: true });
  await rename(folder, gone);
  await flushFolder(dirname(folder));
  await rm(gone, { recursive: true });
}

/** LMDB writes its lock file through memory, where a full disk ends the process (SIGBUS): the file gets its blocks first, by a write that can fail. */
export function reserveLockFile(folder: string): void {
  const file = openSync(join(folder, "lock.mdb"), constants.O_RDWR | constants.O_CREAT, 0o644);
  try {
    const found = fstatSync(file);
    if (!found.isFile()) throw corrupt(folder, "no file at lock.mdb");
    for (let at = found.size; at < LOCK_BYTES; ) at += writeSync(file, Buffer.alloc(LOCK_BYTES - at), 0, undefined, at);
  } finally {
    closeSync(file);
  }
}

/** A name is durable only with its folder. */
export async function flushFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export function nullIfMissing(error: unknown): null {
  if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
  throw error;
}
