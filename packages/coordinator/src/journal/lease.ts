/**
 * Who has the journal: when another coordinator may try. That two never write is not the lease's work but the epoch's, in the database.
 *
 * A small file that is written in place: its owner (boot, pid namespace, process, the process's start time), a counter that goes up every second, and whether
 * a transaction is under way. A starter goes ahead at once where the file is empty (ended in order) or its owner is gone; else it watches until the counter
 * has stood still for 3 s, and gives up as soon as it moves. An owner that was stopped inside a transaction has the database locked: whoever opened it would
 * hang, so the starter says whom to end. An owner that wakes up and finds a newer epoch in the file leaves it alone.
 */
import { closeSync, constants, openSync, readFileSync, readlinkSync, readSync, writeSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { maxUint32 } from "@ringmaster/protocol";
import { z } from "zod";
import { JournalError } from "./journal-error.ts";

const FILE_BYTES = 512;
const BEAT_MS = 1_000;
const STILL_MS = 3_000;
const POLL_MS = 100;

const leaseSchema = z.strictObject({
  bootId: z.string().nullable(),
  pidNamespace: z.string().nullable(),
  pid: z.int().min(1),
  startTime: z.string().nullable(),
  epoch: z.int().min(0).max(maxUint32),
  beats: z.int().min(0),
  isWriting: z.boolean(),
});
type LeaseContents = z.infer<typeof leaseSchema>;

export interface Lease {
  /** Runs a transaction, marked as under way. */
  transact<Result>(work: () => Result): Result;
  /** Whether a newer owner has been seen in the file. */
  isTaken(): boolean;
  /** Stops counting, and says that the owner ended in order. */
  release(): void;
}

export interface LeaseWait {
  /** Called once, if it has to be waited. */
  readonly onWaiting?: ((line: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Resolves once it may be tried. @throws JournalError `RUN_IN_USE`; an AbortError on `signal` */
export async function waitForLease(path: string, { onWaiting, signal }: LeaseWait): Promise<void> {
  const first = readLease(path);
  const owner = parseLease(first);
  const who = owner === null ? "another process" : `process ${owner.pid}`;
  const inUse = (found: string, toDo: string) =>
    new JournalError(
      "RUN_IN_USE",
      `expected nobody else to coordinate this run, found ${who} ${found}: ${toDo} (${path})`,
    );
  const isFree = (lease: string) => lease === "" || (owner !== null && isGone(owner));
  if (isFree(first)) return;
  onWaiting?.(`${who} has this run's journal: waiting ${STILL_MS / 1_000} s for a sign of life`);
  // Counting polls, not the clock: time in which this process was stopped itself proves nothing.
  for (let stillMs = 0; stillMs < STILL_MS; stillMs += POLL_MS) {
    await setTimeout(POLL_MS, undefined, { signal });
    const now = readLease(path);
    if (isFree(now)) return;
    if (now !== first) throw inUse("alive", "wait until that run has ended, or end the process first");
  }
  if (owner?.isWriting !== true) return;
  throw inUse(
    "stopped while it writes",
    `end it with \`kill -9 ${owner.pid}\`; if it is gone for certain, delete the file`,
  );
}

/** Takes the lease. Failing to write it is no failure of the run: it only makes others wait for less. */
export function holdLease(path: string, epoch: number): Lease {
  let file = openLease(path);
  let lease: LeaseContents = { ...thisProcess(), epoch, beats: 0, isWriting: false };
  const write = (change: Partial<LeaseContents>): void => {
    lease = { ...lease, ...change };
    if (file !== null && !isTaken(file, epoch)) writeText(file, JSON.stringify(lease));
  };
  // Whatever is there: two that start at the same moment agree by their next beat.
  if (file !== null) writeText(file, JSON.stringify(lease));
  const timer = setInterval(() => write({ beats: lease.beats + 1 }), BEAT_MS).unref();
  return {
    transact(work) {
      write({ isWriting: true });
      try {
        return work();
      } finally {
        write({ isWriting: false });
      }
    },
    isTaken: () => file !== null && isTaken(file, epoch),
    release() {
      clearInterval(timer);
      if (file === null) return;
      if (!isTaken(file, epoch)) writeText(file, "");
      closeSync(file);
      file = null;
    },
  };
}

function openLease(path: string): number | null {
  try {
    return openSync(path, constants.O_RDWR | constants.O_CREAT, 0o644);
  } catch {
    return null;
  }
}

/** Always of one length and in one call, so that a reader never sees the end of a former, longer one. */
function writeText(file: number, text: string): void {
  try {
    writeSync(file, text.padEnd(FILE_BYTES), 0, "utf8");
  } catch {
    // A disk that is full or gone: the journal's own writes say so.
  }
}

function isTaken(file: number, epoch: number): boolean {
  const lease = parseLease(readText(file));
  return lease !== null && lease.epoch > epoch;
}

function readLease(path: string): string {
  let file: number;
  try {
    // Without waiting, should something else than a file be in its place.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch {
    return "";
  }
  try {
    return readText(file);
  } finally {
    closeSync(file);
  }
}

function readText(file: number): string {
  const bytes = Buffer.alloc(FILE_BYTES);
  try {
    return bytes.toString("utf8", 0, readSync(file, bytes, 0, FILE_BYTES, 0)).trim();
  } catch {
    return "";
  }
}

function parseLease(text: string): LeaseContents | null {
  try {
    return leaseSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

function thisProcess(): Pick<LeaseContents, "bootId" | "pidNamespace" | "pid" | "startTime"> {
  return {
    bootId: orNull(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()),
    pidNamespace: orNull(() => readlinkSync("/proc/self/ns/pid")),
    pid: process.pid,
    startTime: orNull(() => processOf("self").startTime),
  };
}

/** Whether a process is gone for certain. In another container's pid namespace its number means nothing here, so that its counter has to tell. */
function isGone(owner: LeaseContents): boolean {
  const own = thisProcess();
  if (own.bootId === null || own.pidNamespace === null || own.startTime === null) return false;
  if (owner.bootId !== own.bootId) return owner.bootId !== null;
  if (owner.pidNamespace !== own.pidNamespace || owner.startTime === null) return false;
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    // EPERM: another user's process of that number.
    if (error instanceof Error && "code" in error && error.code === "ESRCH") return true;
  }
  const found = orNull(() => processOf(owner.pid));
  return found !== null && (found.startTime !== owner.startTime || found.isDead);
}

/** proc(5): after the name in parentheses, the state is the first field and the start time the 20th. A zombie only waits for its parent. */
function processOf(pid: number | "self"): { startTime: string; isDead: boolean } {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { startTime: z.string().parse(fields[19]), isDead: fields[0] === "Z" || fields[0] === "X" };
}

function orNull<Value>(read: () => Value): Value | null {
  try {
    return read();
  } catch {
    return null;
  }
}
