/**
 * Shows progress on a stream.
 *
 * On a terminal one line is redrawn in place, at most every 100 ms. The cursor is never hidden: each redraw is a single write that ends at the line's end,
 * so there is nothing to flicker, and nothing to restore when the process is killed. Elsewhere (a file, a pipe, CI, TERM=dumb) a plain line is
 * printed at most every 5 s and at each epoch's end, without any escape code.
 */
import { stripVTControlCharacters } from "node:util";
import { plain } from "./display-width.ts";
import { type ProgressState, renderProgress } from "./progress-line.ts";
import { terminalStyle } from "./terminal-style.ts";

export interface ProgressOptions {
  /** Where to show it: usually `process.stderr`, so that results on stdout stay clean. */
  readonly stream: { write(text: string): unknown };
  readonly isTTY: boolean;
  /** The terminal's width; a function is asked at each redraw, as a window can be resized. Default 80. */
  readonly columns?: number | (() => number | undefined) | undefined;
  /** Milliseconds of a clock that never goes back, such as `performance.now`. */
  readonly now: () => number;
  /** For NO_COLOR, TERM and the locale. Default: `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Least time between two redraws on a terminal. Default 100. */
  readonly redrawMs?: number;
  /** Least time between two plain lines elsewhere. Default 5,000. */
  readonly lineMs?: number;
}

export interface Progress {
  /** A step was made. Cheap: draws only when it is time. */
  update(state: ProgressState): void;
  /** An epoch ended: shown at once. */
  epochEnd(state: ProgressState): void;
  /** Prints a line of its own above the progress. */
  log(line: string): void;
  /** Shows the newest state once more and leaves the line standing. Later updates show nothing; `log` still prints. */
  done(): void;
}

const CLEAR_TO_END = "\x1b[K";

export function createProgress(options: ProgressOptions): Progress {
  const { env = process.env } = options;
  return options.isTTY && env.TERM !== "dumb" ? liveLine({ ...options, env }) : plainLines(options);
}

function liveLine(options: ProgressOptions & { env: NonNullable<ProgressOptions["env"]> }): Progress {
  const { stream, now, env, redrawMs = 100 } = options;
  let newest: ProgressState | undefined;
  let drawnMs = Number.NEGATIVE_INFINITY;
  let finished = false;

  const line = (state: ProgressState) => {
    const columns = typeof options.columns === "function" ? options.columns() : options.columns;
    const style = terminalStyle({ isTTY: true, columns, env });
    // The last column stays free: some terminals wrap as soon as it is written.
    return `\r${renderProgress(state, style.columns - 1, style)}${CLEAR_TO_END}`;
  };
  const draw = (state: ProgressState) => {
    newest = state;
    drawnMs = now();
    stream.write(line(state));
  };

  return {
    update(state) {
      if (finished) return;
      newest = state;
      if (now() - drawnMs >= redrawMs) draw(state);
    },
    epochEnd(state) {
      if (!finished) draw(state);
    },
    log(text) {
      const message = env.NO_COLOR ? withoutEscapes(text) : text;
      if (finished || newest === undefined) stream.write(`${message}\n`);
      else stream.write(`\r${CLEAR_TO_END}${message}\n${line(newest)}`);
    },
    done() {
      if (finished) return;
      finished = true;
      if (newest !== undefined) stream.write(`${line(newest)}\n`);
    },
  };
}

function plainLines({ stream, now, lineMs = 5_000 }: ProgressOptions): Progress {
  let newest: ProgressState | undefined;
  let printed = "";
  let printedMs = Number.NEGATIVE_INFINITY;
  let finished = false;

  const print = (state: ProgressState) => {
    newest = undefined;
    const line = plain(renderProgress(state, Number.POSITIVE_INFINITY));
    // An epoch's last step may have been printed a moment ago.
    if (line === printed) return;
    printed = line;
    printedMs = now();
    stream.write(`${line}\n`);
  };

  return {
    update(state) {
      if (finished) return;
      newest = state;
      if (now() - printedMs >= lineMs) print(state);
    },
    epochEnd(state) {
      if (!finished) print(state);
    },
    log(text) {
      stream.write(`${withoutEscapes(text)}\n`);
    },
    done() {
      if (!finished && newest !== undefined) print(newest);
      finished = true;
    },
  };
}

/** Lines stay lines, tabs stay tabs; what could command a terminal goes. */
function withoutEscapes(text: string): string {
  return stripVTControlCharacters(text).replace(/[^\P{Cc}\n\t]/gu, "");
}
