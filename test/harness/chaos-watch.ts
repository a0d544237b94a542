/** What a run's own files say while it goes on: who trains, and how far it is. Read again and again, so only what is new is read. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";

/** A line of the coordinator's in `log.jsonl`. */
export interface RunEvent {
  /** Unix ms. */
  readonly time: number;
  /** Empty: a line in words alone. */
  readonly event: string;
  readonly message: string;
  readonly generation?: number;
  readonly step?: number;
  /** Of `proceeding`: [rank]. */
  readonly pids?: readonly number[];
  /** Of `lost` and `leaving`: names the process. */
  readonly peer?: string;
}

export class RunWatch {
  readonly #run: string;
  readonly #events: RunEvent[] = [];
  #read = 0;

  constructor(run: string) {
    this.#run = run;
  }

  /** All so far. */
  events(): readonly RunEvent[] {
    const { text, end } = readFrom(join(this.#run, "log.jsonl"), this.#read);
    this.#read = end;
    for (const line of text.split("\n")) {
      if (line === "") continue;
      const { role, event = "", msg, ...fields } = JSON.parse(line);
      if (role === "coordinator") this.#events.push({ ...fields, event, message: String(msg ?? "") });
    }
    return this.#events;
  }

  of(event: string): readonly RunEvent[] {
    return this.events().filter((each) => each.event === event);
  }

  /** The pids of the ranks, as the newest word of the coordinator has them. */
  world(): readonly number[] {
    return this.of("proceeding").at(-1)?.pids ?? [];
  }

  /** The last step whose row is on disk; rows follow commits by up to half a second. */
  step(): number {
    const { text } = readFrom(join(this.#run, "metrics.jsonl"), -tailBytes);
    const last = [...text.matchAll(/"type":"step","step":(\d+)[^\n]*\n/g)].at(-1);
    return Number(last?.[1] ?? 0);
  }
}

const tailBytes = 8192;

/** Whole lines from a byte on, from the end where it is negative; nothing where there is no file. */
function readFrom(path: string, from: number): { readonly text: string; readonly end: number } {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch {
    return { text: "", end: Math.max(0, from) };
  }
  try {
    const { size } = fstatSync(file);
    const first = Math.max(0, from < 0 ? size + from : from);
    const bytes = Buffer.alloc(Math.max(0, size - first));
    const length = readSync(file, bytes, 0, bytes.length, first);
    const whole = bytes.subarray(0, length).lastIndexOf(10) + 1;
    return { text: bytes.toString("utf8", 0, whole), end: first + whole };
  } finally {
    closeSync(file);
  }
}
