import { linesOf } from "./json-lines.ts";
import { type MetricsRecord, parseMetrics } from "./metrics-record.ts";
import { TelemetryError } from "./telemetry-error.ts";

export interface Metrics {
  readonly records: MetricsRecord[];
  /** The last line, if the file ends inside it: a writer died there, or is at it now. It is not among the records. */
  readonly tornLine: string | undefined;
}

/**
 * Every record of a metrics file, in its order. Empty lines are skipped.
 * @throws TelemetryError `MALFORMED_METRICS` with the line's number; the file system's error where the file cannot be read.
 */
export async function readMetrics(path: string): Promise<Metrics> {
  const records: MetricsRecord[] = [];
  for await (const { number, text, ended } of linesOf(path)) {
    if (text.trim() === "") continue;
    try {
      records.push(parseMetrics(text, `${path}:${number}`));
    } catch (error) {
      // No beginning of a JSON object is one itself: a last line that parses is whole, though its line end is missing.
      if (ended || !(error instanceof TelemetryError)) throw error;
      return { records, tornLine: text };
    }
  }
  return { records, tornLine: undefined };
}
