/**
 * Appends records to `metrics.jsonl` without training ever waiting for, or failing with, a disk.
 *
 * `append` only queues. Every half second what is queued is written and flushed to the disk, in batches, one at a time; a batch counts as written only then,
 * and `onFlushed` is told up to which step, so that whoever else keeps those records may forget them. A batch that fails stays queued: the next try opens the file
 * again, takes it back to where the last flush ended (what lies behind may be a torn line, or lost with a failed flush), and writes the batch once more. So
 * no line is torn or there twice, whatever a disk does. A file that was removed or replaced is made again. A queue of 100,000 records is full: the
 * oldest are lost, counted, and said to be.
 */
import { type FileHandle, open, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { endAtWholeLine } from "./metrics-end.ts";
import { syncFolder } from "./metrics-folder.ts";
import { formatMetrics, type MetricsRecord } from "./metrics-record.ts";
import { TelemetryError } from "./telemetry-error.ts";

export interface MetricsFileOptions {
  /** Told of a failure; default: none is told. Of one that lasts, once: not again before a write has succeeded. Of lost records, when the first is lost and how many once it is known. */
  readonly onError?: (error: TelemetryError) => void;
  /** Every record appended so far of this step and of those before it is on the disk; default: none is told. */
  readonly onFlushed?: (step: number) => void;
  /** Asked before every write: false once another process writes the file. What is queued then is not written. Default: always true. */
  readonly mayWrite?: () => boolean;
  /** How long a record waits for others before it is flushed. Default 500. */
  readonly flushMs?: number;
  /** How many records may wait. Default 100,000. */
  readonly maxQueued?: number;
}

export interface MetricsFile {
  /** Queues a record; steps never go back. Never throws, never waits. */
  append(record: MetricsRecord): void;
  /** Writes the queue and makes it durable now, say before a checkpoint is recorded. False if that failed; never rejects. */
  flush(): Promise<boolean>;
  /** Flushes and closes; never rejects. What is appended afterwards is lost, and `onError` is told. */
  close(): Promise<{ readonly written: number; readonly lost: number }>;
}

interface Row {
  readonly step: number;
  /** With its line end. */
  readonly line: string;
}

interface OpenFile {
  readonly handle: FileHandle;
  readonly device: bigint;
  readonly inode: bigint;
}

/** In one write and one flush: what a disk that is full takes and gives back each time. */
const batchRows = 4_096;

/**
 * Opens a metrics file for appending, and makes it if it is not there; its folder must be. It is opened at the first write, and a torn last line cut
 * away. Records of an earlier process stay: `cutMetricsAfter` comes first where a run is resumed. The timer keeps no process alive: `close` before the end.
 */
export function openMetricsFile(path: string, options: MetricsFileOptions = {}): MetricsFile {
  return new AppendedFile(path, options);
}

class AppendedFile implements MetricsFile {
  readonly #path: string;
  readonly #options: MetricsFileOptions;
  readonly #maxQueued: number;
  readonly #queue: Row[] = [];
  #file: OpenFile | undefined;
  /** The file as it was last flushed, by which it is known again, and its length then. */
  #flushed: { readonly device: bigint; readonly inode: bigint; readonly bytes: number } | undefined;
  #flushedStep: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closing: ReturnType<MetricsFile["close"]> | undefined;
  #written = 0;
  #lost = 0;
  /** Of `#lost`, those whose number was told. */
  #lostTold = 0;
  #isFailing = false;
  /** One write at a time. */
  #turn: Promise<boolean> = Promise.resolve(true);

  constructor(path: string, options: MetricsFileOptions) {
    this.#path = path;
    this.#options = options;
    this.#maxQueued = options.maxQueued ?? 100_000;
  }

  append(record: MetricsRecord): void {
    if (this.#closing !== undefined) {
      this.#tell("METRICS_CLOSED", `a ${record.type} record came after close(); it is lost`);
      return;
    }
    this.#queue.push({ step: record.step, line: `${formatMetrics(record)}\n` });
    this.#bound();
    this.#flushLater();
  }

  flush(): Promise<boolean> {
    if (this.#closing) return this.#closing.then(({ lost }) => lost === 0);
    this.#turn = this.#turn.then(() => this.#drain());
    return this.#turn;
  }

  close(): ReturnType<MetricsFile["close"]> {
    this.#closing ??= this.flush().then(async () => {
      clearTimeout(this.#timer);
      await this.#letGo();
      this.#lost += this.#queue.length;
      return { written: this.#written, lost: this.#lost };
    });
    return this.#closing;
  }

  #flushLater(): void {
    this.#timer ??= setTimeout(async () => {
      await this.flush();
      this.#timer = undefined;
      if (this.#queue.length > 0 && this.#closing === undefined) this.#flushLater();
    }, this.#options.flushMs ?? 500).unref();
  }

  async #drain(): Promise<boolean> {
    try {
      while (this.#queue.length > 0 && this.#mayWrite) await this.#write();
      if (!this.#mayWrite) this.#queue.length = 0;
      this.#isFailing = false;
      this.#tellLost();
      return true;
    } catch (cause) {
      await this.#letGo();
      if (!this.#mayWrite) {
        this.#queue.length = 0;
        return true;
      }
      if (!this.#isFailing) {
        this.#isFailing = true;
        const reason = cause instanceof Error ? cause.message : String(cause);
        const advice = "training goes on and the write is tried again: free or mend the disk";
        this.#tell("METRICS_WRITE_FAILED", `metrics cannot be written (${reason}); ${advice}`, cause);
      }
      return false;
    }
  }

  /** Writes and flushes one batch. */
  async #write(): Promise<void> {
    const batch = this.#queue.splice(0, batchRows);
    try {
      const { handle, device, inode } = await this.#current();
      const bytes = Buffer.from(batch.map(({ line }) => line).join(""));
      for (let at = 0; at < bytes.length; ) {
        this.#insistOnOwn();
        at += (await handle.write(bytes, at)).bytesWritten;
      }
      await handle.datasync();
      this.#flushed = { device, inode, bytes: (this.#flushed?.bytes ?? 0) + bytes.length };
    } catch (error) {
      this.#queue.unshift(...batch);
      this.#bound();
      throw error;
    }
    this.#written += batch.length;
    const step = batch.at(-1)?.step ?? 0;
    this.#flushedStep = step;
    quietly(() => this.#options.onFlushed?.(step));
  }

  /** The file at the path, open, its end where the last flush ended. */
  async #current(): Promise<OpenFile> {
    if (this.#file && (await isAt(this.#path, this.#file, this.#flushed?.bytes))) return this.#file;
    await this.#letGo();
    const handle = await open(this.#path, "a+");
    try {
      const { dev: device, ino: inode, size } = await handle.stat({ bigint: true });
      const known = this.#flushed;
      // This process may have stood still since it asked last, and the file be another's meanwhile.
      this.#insistOnOwn();
      if (known?.inode === inode && known.device === device && known.bytes <= size) await handle.truncate(known.bytes);
      else {
        if (known) {
          const gone = this.#flushedStep === undefined ? "" : `; its records up to step ${this.#flushedStep} are gone`;
          this.#tell("METRICS_WRITE_FAILED", `the file was removed, replaced or cut while the run went on${gone}`);
        }
        await syncFolder(dirname(this.#path));
        this.#flushed = { device, inode, bytes: await endAtWholeLine(handle) };
      }
      this.#file = { handle, device, inode };
      return this.#file;
    } catch (error) {
      await handle.close().catch(() => {});
      throw error;
    }
  }

  get #mayWrite(): boolean {
    return this.#options.mayWrite?.() !== false;
  }

  #insistOnOwn(): void {
    if (!this.#mayWrite) throw new Error("another process writes the file");
  }

  async #letGo(): Promise<void> {
    const { handle } = this.#file ?? {};
    this.#file = undefined;
    // What was flushed is safe, and what was not is written again.
    await handle?.close().catch(() => {});
  }

  #bound(): void {
    const over = this.#queue.length - this.#maxQueued;
    if (over <= 0) return;
    this.#queue.splice(0, over);
    if (this.#lost === this.#lostTold) {
      const advice = "the oldest are lost from here on: free or mend the disk";
      this.#tell("METRICS_WRITE_FAILED", `${this.#maxQueued} records wait for the disk; ${advice}`);
    }
    this.#lost += over;
  }

  #tellLost(): void {
    const lost = this.#lost - this.#lostTold;
    if (lost === 0) return;
    this.#lostTold = this.#lost;
    this.#tell("METRICS_WRITE_FAILED", `metrics are written again; ${lost} records are lost`);
  }

  #tell(code: TelemetryError["code"], message: string, cause?: unknown): void {
    quietly(() => this.#options.onError?.(new TelemetryError(code, `${this.#path}: ${message}`, { cause })));
  }
}

/** A listener that throws must not reach training either. */
function quietly(listener: () => void): void {
  try {
    listener();
  } catch {}
}

async function isAt(path: string, { device, inode }: OpenFile, bytes: number | undefined): Promise<boolean> {
  try {
    const found = await stat(path, { bigint: true });
    return found.dev === device && found.ino === inode && Number(found.size) === bytes;
  } catch {
    // Opening it again says what is wrong.
    return false;
  }
}
