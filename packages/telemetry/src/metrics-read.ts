import { linesOf } from "./json-lines.ts";
import { type MetricsRecord, parseMetrics } from "./metrics-record.ts";
import { TelemetryError } from "./telemetry-error.ts";

export interface Metrics {
  /** The newest, in the file's order. */
  readonly records: MetricsRecord[];
  /** How many older ones are not among the records. */
  readonly omitted: number;
  /** Of the last record, whole or omitted; null: there is none. */
  readonly lastStep: number | null;
  /** The last line, if the file ends inside it: a writer died there, or is at it now. It is not among the records; `openMetricsFile` cuts it away. */
  readonly tornLine: string | undefined;
  /** Other lines that hold no record, passed over: why, with file and line. A damaged measurement is no reason not to go on. */
  readonly damaged: readonly string[];
}

/** As many as a run keeps in mind. */
const newestRecords = 100_000;

/**
 * The records of a metrics file, say after the process that wrote it died. Empty lines are skipped; a file that does not exist has no records.
 * @param newest how many to keep; a file may be longer than memory.
 * @throws the file system's error where the file cannot be read.
 */
export async function readMetrics(path: string, newest = newestRecords): Promise<Metrics> {
  let records: MetricsRecord[] = [];
  let omitted = 0;
  let tornLine: string | undefined;
  const damaged: string[] = [];
  // Twice as many at times, so that each is moved once only.
  const forget = (above: number) => {
    if (records.length <= above) return;
    omitted += records.length - newest;
    records = records.slice(-newest);
  };
  try {
    for await (const { number, text, ended } of linesOf(path)) {
      if (text.trim() === "") continue;
      try {
        records.push(parseMetrics(text, `${path}:${number}`));
        forget(2 * newest);
      } catch (error) {
        if (!(error instanceof TelemetryError)) throw error;
        if (ended) damaged.push(error.message);
        // No beginning of a JSON object is one itself: a last line that parses is whole, though its line end is missing.
        else tornLine = text;
      }
    }
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
  forget(newest);
  return { records, omitted, lastStep: records.at(-1)?.step ?? null, tornLine, damaged };
}
