/**
 * The one line that says how a run goes.
 *
 * Every part has forms from full to absent. While the line is too wide, the next entry of `GIVE_WAY` takes its part one form down, so what matters
 * least goes first and the step and the loss go last. The device loses its detail before its kind: which device trains is never silent.
 */
import { displayWidth, fit, plain } from "./display-width.ts";
import { formatDuration } from "./duration.ts";
import { formatCount, formatLoss, formatPercent } from "./quantity.ts";
import { type Ink, paint, type TextStyle } from "./terminal-style.ts";

export interface ProgressState {
  /** The present epoch, from 1. */
  readonly epoch: number;
  readonly epochs: number;
  /** Steps done, counted over the whole run. */
  readonly step: number;
  readonly steps: number;
  /** The training loss, as a mean over samples. */
  readonly loss?: number | undefined;
  /** 0 to 1. */
  readonly accuracy?: number | undefined;
  readonly imagesPerSecond?: number | undefined;
  /** Seconds to the end of the run. */
  readonly etaSeconds?: number | undefined;
  /** Who trains: `2 ranks x 1 thread`. */
  readonly world?: string | undefined;
  /** What trains, its kind first: `CPU AMD EPYC`. Where room is short its first word stays. */
  readonly device: string;
}

type PartName = "bar" | "epoch" | "step" | "loss" | "accuracy" | "rate" | "eta" | "device";

interface Part {
  readonly name: PartName;
  /** Full first; an empty one is absent. */
  readonly forms: readonly string[];
  readonly inks: readonly Ink[];
}

const GIVE_WAY: readonly PartName[] = [
  ...(["bar", "bar", "device", "device", "epoch", "rate", "accuracy", "epoch"] as const),
  ...(["eta", "step", "loss", "device", "loss"] as const),
];
const GAP = "  ";

/**
 * @param columns what the line may take; `Infinity` gives every part in full, and no bar.
 * @returns one line without a line end, never wider than `columns`; with escape codes only if `style.colour`.
 */
export function renderProgress(state: ProgressState, columns: number, style: Omit<TextStyle, "columns"> = {}): string {
  const parts = partsOf(state, Number.isFinite(columns), style.unicode ?? false);
  const form = new Map<PartName, number>();
  const shown = () =>
    parts.flatMap(({ name, forms, inks }) => {
      const text = forms[Math.min(form.get(name) ?? 0, forms.length - 1)] ?? "";
      return text === "" ? [] : [{ text, inks }];
    });
  const line = () =>
    shown()
      .map(({ text }) => text)
      .join(GAP);
  for (const name of GIVE_WAY) {
    if (displayWidth(line()) <= columns) break;
    form.set(name, (form.get(name) ?? 0) + 1);
  }
  if (displayWidth(line()) > columns) return fit(line(), Math.max(0, columns), "");
  return shown()
    .map(({ text, inks }) => paint(text, inks, style.colour ?? false))
    .join(GAP);
}

function partsOf(state: ProgressState, withBar: boolean, unicode: boolean): Part[] {
  const { epoch, epochs, step, steps, loss, accuracy, imagesPerSecond, etaSeconds } = state;
  // As wide as its end, so that nothing to its right moves while it counts.
  const stepOf = `${String(step).padStart(String(steps).length)}/${steps}`;
  const share = steps > 0 ? Math.min(1, Math.max(0, step / steps)) : 0;
  const world = plain(state.world ?? "").trim();
  const device = plain(state.device).trim();
  const kind = device.split(/[\s,]/)[0] ?? "";
  const lossText = loss === undefined ? "" : formatLoss(loss);
  const eta = etaSeconds === undefined ? "" : formatDuration(etaSeconds);
  return [
    { name: "epoch", forms: [`epoch ${epoch}/${epochs}`, `e${epoch}/${epochs}`, ""], inks: [] },
    { name: "step", forms: [`step ${stepOf}`, stepOf], inks: [] },
    { name: "bar", forms: withBar ? [bar(share, 20, unicode), bar(share, 10, unicode), ""] : [""], inks: ["cyan"] },
    { name: "loss", forms: loss === undefined ? [""] : [`loss ${lossText}`, lossText, ""], inks: ["bold"] },
    { name: "accuracy", forms: accuracy === undefined ? [""] : [`acc ${formatPercent(accuracy)}`, ""], inks: [] },
    {
      name: "rate",
      forms: imagesPerSecond === undefined ? [""] : [`${formatCount(imagesPerSecond)} img/s`, ""],
      inks: [],
    },
    { name: "eta", forms: eta === "" ? [""] : [`ETA ${eta}`, ""], inks: [] },
    { name: "device", forms: [world === "" ? device : `${world}, ${device}`, device, kind, ""], inks: ["dim"] },
  ];
}

function bar(share: number, width: number, unicode: boolean): string {
  const done = Math.floor(share * width);
  if (unicode) return "━".repeat(done) + "╌".repeat(width - done);
  return `[${"=".repeat(done)}${" ".repeat(width - done)}]`;
}
