/** The run's `log.jsonl`. A disk that refuses a line loses that line: it is said once, and training goes on. */
import { appendFileSync } from "node:fs";
import { type Logger, pino } from "pino";
import { sayOnStderr } from "../say-on-stderr.ts";

/** Lines are in the file when the call returns; who dies next has logged them. A file that was removed is made again. */
export function openLog(file: string, base: object): Logger {
  let isFailing = false;
  const write = (line: string) => {
    try {
      appendFileSync(file, line);
      isFailing = false;
    } catch (error) {
      if (!isFailing)
        sayOnStderr(`${file} cannot be written (${error instanceof Error ? error.message : error}): lines are lost`);
      isFailing = true;
    }
  };
  return pino({ base }, { write });
}
