import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { linesOf } from "./json-lines.ts";
import { syncFolder } from "./metrics-folder.ts";
import { parseStep } from "./metrics-record.ts";
import { TelemetryError } from "./telemetry-error.ts";

export interface MetricsCut {
  /** Records that stay. */
  readonly kept: number;
  /** Records of later steps, now gone. */
  readonly removed: number;
  /** The last line, dropped because the file ended inside it. */
  readonly tornLine: string | undefined;
  /** Other lines that hold no record, dropped: why, with file and line. A damaged measurement is no reason not to resume. */
  readonly damaged: readonly string[];
}

const WRITE_BYTES = 1 << 16;

/**
 * Takes a metrics file back to a step: records of later steps go, so that a resumed run writes them anew and none is there twice. Atomic: the file is the
 * old one or the new one, also after a power cut. A file that does not exist, or needs no change, is left alone. Nobody may have it open for writing.
 *
 * @param step the last step whose records stay.
 */
export async function cutMetricsAfter(path: string, step: number): Promise<MetricsCut> {
  const temporary = `${path}.cut`;
  const damaged: string[] = [];
  let [kept, removed, unended] = [0, 0, false];
  let tornLine: string | undefined;

  const out = await open(temporary, "w");
  try {
    let pending = "";
    const write = async () => {
      await out.writeFile(pending);
      pending = "";
    };
    for await (const { number, text, ended } of linesOf(path)) {
      if (text.trim() === "") continue;
      const verdict = stepOrReason(text, `${path}:${number}`);
      unended ||= !ended;
      if (typeof verdict === "number" && verdict <= step) {
        kept += 1;
        pending += `${text}\n`;
        if (pending.length >= WRITE_BYTES) await write();
      } else if (typeof verdict === "number") removed += 1;
      else if (ended) damaged.push(verdict);
      else tornLine = text;
    }
    await write();
    if (removed > 0 || unended || damaged.length > 0) {
      await out.sync();
      await rename(temporary, path);
      await syncFolder(dirname(path));
    }
  } catch (error) {
    if (!isMissing(error)) throw error;
  } finally {
    await out.close();
    await rm(temporary, { force: true });
  }
  return { kept, removed, tornLine, damaged };
}

function stepOrReason(line: string, where: string): number | string {
  try {
    return parseStep(line, where);
  } catch (error) {
    if (error instanceof TelemetryError) return error.message;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
