/** What the place that a text goes to can show. The renderers take it as data and never ask the process. */
export interface TextStyle {
  /** Lines are kept to this many columns. Default 80. */
  readonly columns?: number;
  /** Colour and bold by escape codes. Default false. */
  readonly colour?: boolean;
  /** Box-drawing and other characters beyond ASCII. Default false. */
  readonly unicode?: boolean;
}

export const DEFAULT_STYLE: Required<TextStyle> = { columns: 80, colour: false, unicode: false };

export interface TerminalFacts {
  readonly isTTY: boolean;
  readonly columns?: number | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Style for a stream. Colour needs a terminal that is not `dumb` and no `NO_COLOR` (https://no-color.org: set and not empty); characters beyond
 * ASCII need a UTF-8 locale (the first that is set of LC_ALL, LC_CTYPE, LANG: POSIX's order).
 */
export function terminalStyle({ isTTY, columns, env }: TerminalFacts): Required<TextStyle> {
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG || "";
  return {
    columns: isTTY && columns !== undefined && columns > 0 ? columns : DEFAULT_STYLE.columns,
    colour: isTTY && env.TERM !== "dumb" && !env.NO_COLOR,
    unicode: /utf-?8/i.test(locale),
  };
}

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;
export type Ink = keyof typeof CODES;

/** `text` in the given inks, or as it is where colour is off. */
export function paint(text: string, inks: readonly Ink[], colour: boolean): string {
  if (!colour || text === "" || inks.length === 0) return text;
  return `\x1b[${inks.map((ink) => CODES[ink]).join(";")}m${text}\x1b[0m`;
}
