/**
 * Appends records to `metrics.jsonl` without training ever waiting for, or failing with, a disk.
 *
 * `append` only queues. The queue goes to the file every second, or as soon as it holds 64 KiB, one write at a time. A write that fails is told to `onError`
 * once, until one succeeds again; what it did not write stays queued and is tried again, from the very byte where it stopped, so that a disk that was
 * full for a while tears no line. A queue of 16 MiB is full: further records are dropped and counted.
 */
import { type FileHandle, open } from "node:fs/promises";
import { formatMetrics, type MetricsRecord } from "./metrics-record.ts";
import { TelemetryError } from "./telemetry-error.ts";

export interface MetricsFileOptions {
  /** Told of a failure; default: none is told. Not called again before a write has succeeded. */
  readonly onError?: (error: TelemetryError) => void;
  /** Default 1,000. */
  readonly flushMs?: number;
  /** Default 65,536. */
  readonly flushBytes?: number;
  /** Default 16 MiB. */
  readonly queueBytes?: number;
}

export interface MetricsFile {
  /** Queues a record; never throws, never waits. */
  append(record: MetricsRecord): void;
  /** Writes the queue and makes it durable (fdatasync), say before a checkpoint is recorded. False if that failed; never rejects. */
  flush(): Promise<boolean>;
  /** Flushes and closes; never rejects. What is appended afterwards is lost, and `onError` is told. */
  close(): Promise<{ readonly written: number; readonly lost: number }>;
}

interface Batch {
  bytes: Buffer;
  readonly records: number;
}

/**
 * Opens a metrics file for appending, and makes it if it is not there; its folder must be. It is opened at the first write. Records of an earlier
 * process stay: `cutMetricsAfter` comes first where a run is resumed. The timer keeps no process alive: `close` before the end.
 */
export function openMetricsFile(path: string, options: MetricsFileOptions = {}): MetricsFile {
  const { onError, flushMs = 1_000, flushBytes = 1 << 16, queueBytes = 1 << 24 } = options;
  let queue: string[] = [];
  let queuedBytes = 0;
  let batch: Batch | undefined; // Being written; after a failure, what is left of it.
  let file: FileHandle | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closing: ReturnType<MetricsFile["close"]> | undefined;
  let [written, dropped] = [0, 0];
  let [told, queuedWrite] = [false, false];
  let turn: Promise<boolean> = Promise.resolve(true); // One write at a time.

  const tell = (error: TelemetryError) => {
    if (told) return;
    told = true;
    try {
      onError?.(error);
    } catch {
      // A reporter that throws must not reach training either.
    }
  };

  const takeQueue = (): Batch | undefined => {
    if (queue.length === 0) return undefined;
    const taken = { bytes: Buffer.from(queue.join("")), records: queue.length };
    queue = [];
    queuedBytes = 0;
    return taken;
  };

  const drain = async (durable: boolean): Promise<boolean> => {
    try {
      file ??= await openAtLineStart(path);
      for (batch ??= takeQueue(); batch !== undefined; batch = takeQueue()) {
        while (batch.bytes.length > 0) {
          const { bytesWritten } = await file.write(batch.bytes);
          batch.bytes = batch.bytes.subarray(bytesWritten);
        }
        written += batch.records;
      }
      if (durable) await file.datasync();
      told = false;
      return true;
    } catch (cause) {
      tell(writeFailed(path, cause));
      return false;
    }
  };

  const write = (durable: boolean): Promise<boolean> => {
    queuedWrite = true;
    turn = turn.then(() => {
      queuedWrite = false;
      return drain(durable);
    });
    return turn;
  };

  const writeLater = () => {
    timer ??= setTimeout(async () => {
      timer = undefined;
      const done = await write(false);
      if (!done && closing === undefined) writeLater();
    }, flushMs).unref();
  };

  return {
    append(record) {
      if (closing !== undefined) {
        tell(new TelemetryError("METRICS_CLOSED", `${path}: a ${record.type} record came after close(); it is lost`));
        return;
      }
      const line = `${formatMetrics(record)}\n`;
      const bytes = Buffer.byteLength(line);
      if (queuedBytes + bytes > queueBytes) {
        dropped += 1;
        tell(writeFailed(path, `the disk does not keep up: ${queueBytes} bytes wait, further records are dropped`));
        return;
      }
      queue.push(line);
      queuedBytes += bytes;
      writeLater();
      // While writes fail the timer alone tries again, not every step.
      if (queuedBytes >= flushBytes && !queuedWrite && !told) void write(false);
    },
    flush: () => (closing === undefined ? write(true) : closing.then(({ lost }) => lost === 0)),
    close() {
      closing ??= (async () => {
        await write(true);
        clearTimeout(timer);
        await file?.close().catch((cause: unknown) => tell(writeFailed(path, cause)));
        return { written, lost: dropped + (batch?.records ?? 0) + queue.length };
      })();
      return closing;
    },
  };
}

/** Opened for appending, at the start of a line: where an earlier writer died inside one, that line is ended, so that it spoils no second. */
async function openAtLineStart(path: string): Promise<FileHandle> {
  const file = await open(path, "a+");
  try {
    const { size } = await file.stat();
    const last = Buffer.alloc(1);
    if (size > 0) await file.read(last, 0, 1, size - 1);
    if (size > 0 && last.toString() !== "\n") await file.writeFile("\n");
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

function writeFailed(path: string, cause: unknown): TelemetryError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const advice = "training goes on and the write is tried again: free or mend the disk";
  return new TelemetryError("METRICS_WRITE_FAILED", `${path}: metrics cannot be written (${reason}); ${advice}`, {
    cause,
  });
}
