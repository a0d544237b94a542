/**
 * Writing so that a crash at any moment leaves either the old or the new, never a part.
 *
 * Everything is written under a temporary name beside its target, flushed to the disk, and only then renamed; then the folder around it is flushed, as a
 * rename is durable only with its folder. A target that exists is set aside first, because a folder cannot be renamed over a filled one:
 *
 *     .NAME.tmp-PID-N    being written
 *     .NAME.old-PID-N    the former NAME, set aside while the new one takes its place
 *     .NAME.gone-PID-N   being deleted
 *
 * A writer that dies leaves such names behind. `removeLeftovers` deletes them; where it finds a NAME set aside and nothing in its place, it
 * puts it back. A folder has one writing thread at a time: names of a process that is alive are left alone, names of this process
 * only while it is at work on them (in a container, a writer that died often had the same id).
 */
import { lstat, mkdir, open, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { systemCode, unreadable, unwritable } from "./checkpoint-error.ts";

/** A file to be written: its plain name and its bytes in pieces. The pieces must not change until the write has ended. */
export interface FileToWrite {
  readonly name: string;
  readonly chunks: readonly Uint8Array[];
}

const LEFTOVER = /^\.(?<name>.+)\.(?<kind>tmp|old|gone)-(?<pid>\d+)-\d+$/;
/** Temporary paths on which this process is at work. */
const atWork = new Set<string>();
let counter = 0;

/**
 * Writes a folder with these files, whole and durable when the promise resolves. A target that exists is replaced; the folder around it must exist.
 *
 * @param check looks at the folder as it was written and flushed, before it takes its place; where it throws, nothing takes it
 * @throws CheckpointError `UNWRITABLE`, `DISK_FULL`, `READ_ONLY`, `DISK_GONE`: nothing is left behind as far as the disk allows, and a target that existed is as it was (or, where
 * only the last flush failed, the new one)
 */
export async function writeFolderAtomically(
  target: string,
  files: readonly FileToWrite[],
  check: (folder: string) => Promise<void> = async () => {},
): Promise<void> {
  await viaTemporary(target, "tmp", async (temporary) => {
    await mkdir(temporary);
    for (const { name, chunks } of files) await writeDurably(join(temporary, name), chunks);
    await flushFolder(temporary);
    await check(temporary);
    if (await exists(target)) await replaceFolder(temporary, target);
    else await rename(temporary, target);
    await flushFolder(dirname(target));
  });
}

/**
 * Writes a file, whole and durable when the promise resolves. A target that exists is replaced; the folder around it must exist.
 *
 * @throws CheckpointError as {@link writeFolderAtomically}
 */
export async function writeFileAtomically(target: string, bytes: Uint8Array): Promise<void> {
  await viaTemporary(target, "tmp", async (temporary) => {
    await writeDurably(temporary, [bytes]);
    await rename(temporary, target);
    await flushFolder(dirname(target));
  });
}

/**
 * Removes a folder so that no part of it is ever seen under its name: a crash leaves a leftover, not a torn folder.
 *
 * @throws CheckpointError as {@link writeFolderAtomically}
 */
export async function removeFolderAtomically(target: string): Promise<void> {
  await viaTemporary(target, "gone", async (temporary) => {
    await rename(target, temporary);
    await flushFolder(dirname(target));
    await rm(temporary, { recursive: true });
  });
}

/**
 * Cleans a folder of what writers that died left in it; see the top of this file. A folder that does not exist has none.
 *
 * @throws CheckpointError as {@link writeFolderAtomically}, and `UNREADABLE`
 */
export async function removeLeftovers(folder: string): Promise<void> {
  await restoreSetAside(folder);
  for (const { path } of await leftoversIn(folder)) {
    await rm(path, { recursive: true, force: true }).catch((error) => {
      throw unwritable("remove", path, error);
    });
  }
}

/** The half of {@link removeLeftovers} that a reader needs too: puts back what was set aside by a writer that died before its new one was in place. */
export async function restoreSetAside(folder: string): Promise<void> {
  for (const { path, target, setAside } of await leftoversIn(folder)) {
    if (!setAside || (await exists(target))) continue;
    await rename(path, target).catch((error) => {
      throw unwritable("restore", target, error);
    });
  }
}

interface Leftover {
  readonly path: string;
  readonly target: string;
  /** Whether it was set aside, and so may be the only good one. */
  readonly setAside: boolean;
}

async function leftoversIn(folder: string): Promise<Leftover[]> {
  const names = await readdir(folder).catch((error) => {
    if (systemCode(error) === "ENOENT") return [];
    throw unreadable(folder, error);
  });
  return names.flatMap((entry) => {
    const { name, kind, pid } = LEFTOVER.exec(entry)?.groups ?? {};
    const path = join(folder, entry);
    if (name === undefined || isAtWork(path, Number(pid))) return [];
    return [{ path, target: join(folder, name), setAside: kind === "old" }];
  });
}

function isAtWork(path: string, pid: number): boolean {
  if (pid === process.pid) return atWork.has(resolve(path));
  // 0 would ask about this process's own group.
  if (pid === 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === "EPERM";
  }
}

async function viaTemporary(
  target: string,
  kind: "tmp" | "gone",
  write: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = await freeName(target, kind);
  atWork.add(temporary);
  try {
    await write(temporary);
  } catch (error) {
    // What went wrong first is what matters; what cannot be removed now is a leftover.
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
    throw unwritable(kind === "gone" ? "remove" : "write", target, error);
  } finally {
    atWork.delete(temporary);
  }
}

async function freeName(target: string, kind: "tmp" | "old" | "gone"): Promise<string> {
  const folder = resolve(dirname(target));
  for (;;) {
    const path = join(folder, `.${basename(target)}.${kind}-${process.pid}-${counter++}`);
    if (!(await exists(path))) return path;
  }
}

async function replaceFolder(temporary: string, target: string): Promise<void> {
  const aside = await freeName(target, "old");
  atWork.add(aside);
  try {
    await rename(target, aside);
    try {
      await rename(temporary, target);
    } catch (error) {
      await rename(aside, target);
      throw error;
    }
    await flushFolder(dirname(target));
    await rm(aside, { recursive: true, force: true });
  } finally {
    atWork.delete(aside);
  }
}

async function exists(path: string): Promise<boolean> {
  // Whatever else is wrong with the path, the call that uses it says so.
  return await lstat(path).then(
    () => true,
    () => false,
  );
}

async function writeDurably(path: string, chunks: readonly Uint8Array[]): Promise<void> {
  const file = await open(path, "wx");
  try {
    await writeFile(file, chunks);
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Makes a folder and those around it, durably; one that is there is left as it is. Not `mkdir` with `recursive`: in a file system that answers
 * ENOENT to every new name (/proc does) Node 20 tries again until its memory is full.
 */
export async function makeFolders(folder: string): Promise<void> {
  const missing: string[] = [];
  for (let path = resolve(folder); !(await exists(path)); path = dirname(path)) missing.push(path);
  for (const path of missing.reverse()) {
    await mkdir(path).catch((error) => {
      if (systemCode(error) !== "EEXIST") throw error;
    });
    await flushFolder(dirname(path));
  }
}

/** Makes the names in a folder durable. */
export async function flushFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } catch (error) {
    // Some network file systems have no flush for folders and keep names durable by themselves.
    if (systemCode(error) !== "EINVAL" && systemCode(error) !== "ENOTSUP") throw error;
  } finally {
    await handle.close();
  }
}
