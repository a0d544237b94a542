/** Reading and hashing files of any size in pieces: the event loop stays free for heartbeats while a checkpoint is written or read. */
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { CheckpointError, systemCode, unreadable } from "./checkpoint-error.ts";
import type { FileDigest } from "./run-record.ts";

const PIECE_BYTES = 4 * 1024 * 1024;

/** Size and SHA-256 of what the chunks are, one after the other. */
export async function digestOf(chunks: readonly Uint8Array[]): Promise<FileDigest> {
  const hash = createHash("sha256");
  let bytes = 0;
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
      hash.update(chunk.subarray(at, at + PIECE_BYTES));
      if (chunk.length > PIECE_BYTES) await setImmediate();
    }
    bytes += chunk.length;
  }
  return { sha256: hash.digest("hex"), bytes };
}

/**
 * Size and SHA-256 of a file as it is read from the disk, or from the page cache: Node cannot go round that, so a disk that lies only after the cache has
 * let go is found when the checkpoint is loaded.
 */
export async function digestOfFile(path: string): Promise<FileDigest> {
  const hash = createHash("sha256");
  const piece = new Uint8Array(PIECE_BYTES);
  const file = await open(path, "r");
  try {
    for (let bytes = 0; ; ) {
      const { bytesRead } = await file.read(piece, 0, PIECE_BYTES, bytes);
      if (bytesRead === 0) return { sha256: hash.digest("hex"), bytes };
      hash.update(piece.subarray(0, bytesRead));
      bytes += bytesRead;
    }
  } finally {
    await file.close();
  }
}

/**
 * A checkpoint's file, whole. Not `fs.readFile`, which ends at 2 GiB.
 *
 * @param expectedBytes where known: a file of another size is refused before its memory is allocated
 * @throws CheckpointError `CHECKPOINT_CORRUPT` where it is missing or of another size, `UNREADABLE`
 */
export async function readWhole(path: string, expectedBytes?: number): Promise<Uint8Array> {
  try {
    const file = await open(path, "r");
    try {
      const { size } = await file.stat();
      if (expectedBytes !== undefined && size !== expectedBytes) {
        throw corrupt(path, `expected ${expectedBytes} bytes, found ${size}`);
      }
      const bytes = new Uint8Array(size);
      for (let at = 0; at < size; ) {
        const { bytesRead } = await file.read(bytes, at, Math.min(PIECE_BYTES, size - at), at);
        if (bytesRead === 0) throw corrupt(path, `expected ${size} bytes, found ${at}`);
        at += bytesRead;
      }
      return bytes;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (systemCode(error) === "ENOENT") throw corrupt(path, "expected a file, found none");
    throw unreadable(path, error);
  }
}

/** The error for a checkpoint's file that is not what was written. */
export function corrupt(path: string, problem: string, cause?: unknown): CheckpointError {
  return new CheckpointError(
    "CHECKPOINT_CORRUPT",
    `${path} is damaged: ${problem}; resume from an earlier checkpoint, or restore this file from a copy`,
    cause === undefined ? undefined : { cause },
  );
}
