/** `metrics.jsonl` of a run under way: rows are appended as steps are committed, and taken back where the run goes back to a checkpoint. */
import {
  cutMetricsAfter,
  type MetricsFile,
  type MetricsFileOptions,
  type MetricsRecord,
  openMetricsFile,
} from "@ringmaster/telemetry";

export interface MetricsSinkOptions {
  readonly onError: (error: Error) => void;
  /** False once another coordinator leads the run: the file is its own then. */
  readonly mayWrite: () => boolean;
}

export class MetricsSink {
  readonly #path: string;
  readonly #options: MetricsFileOptions & MetricsSinkOptions;
  #file: MetricsFile;
  /** What comes while the file is cut. */
  #waiting: MetricsRecord[] | undefined;
  #cutting = Promise.resolve();
  #flushedStep = 0;

  constructor(path: string, options: MetricsSinkOptions) {
    this.#path = path;
    this.#options = {
      ...options,
      onFlushed: (step) => {
        this.#flushedStep = step;
      },
    };
    this.#file = openMetricsFile(path, this.#options);
  }

  /** Rows of the steps up to this one are on disk, evaluations too: those of a step come before the next step's row. */
  get keptThrough(): number {
    return this.#flushedStep - 1;
  }

  append(record: MetricsRecord): void {
    if (this.#waiting) this.#waiting.push(record);
    else this.#file.append(record);
  }

  /** Rows of later steps go. */
  goBackTo(step: number): void {
    const waiting = (this.#waiting ?? []).filter((record) => record.step <= step);
    this.#waiting = waiting;
    this.#flushedStep = Math.min(this.#flushedStep, step);
    this.#cutting = this.#cutting.then(async () => {
      await this.#file.close();
      await cutMetricsAfter(this.#path, step).catch((error: Error) => this.#options.onError(error));
      this.#flushedStep = Math.min(this.#flushedStep, step);
      this.#file = openMetricsFile(this.#path, this.#options);
      // The run went back again meanwhile: that cut hands the rows on.
      if (this.#waiting !== waiting) return;
      this.#waiting = undefined;
      for (const record of waiting) this.#file.append(record);
    });
  }

  /** Never rejects; a disk that refuses is told to `onError`. */
  async flush(): Promise<void> {
    await this.#cutting;
    await this.#file.flush();
  }

  async close(): Promise<void> {
    await this.#cutting;
    await this.#file.close();
  }
}
