/**
 * What a person reads when a run has ended: what came out, how good it is and where it fails, and how to get the same bits again. It explains its own
 * terms where it uses them. Its lines fit the columns, but for the hash and the command, which are there to be copied.
 */

import { type ConfusionMatrix, classificationReport } from "./classification.ts";
import { renderClassification } from "./classification-table.ts";
import { renderConfusion } from "./confusion-table.ts";
import { displayWidth, padEnd, plain } from "./display-width.ts";
import { formatDuration } from "./duration.ts";
import { formatCount, formatLoss, formatPercent } from "./quantity.ts";
import { renderTable } from "./table.ts";
import { DEFAULT_STYLE, paint, type TextStyle } from "./terminal-style.ts";
import { wrapWords } from "./word-wrap.ts";

export interface ValidationResult {
  readonly epoch: number;
  readonly loss: number;
  /** 0 to 1. */
  readonly accuracy: number;
}

export interface FinalReport {
  /** The run's name. */
  readonly name: string;
  readonly steps: number;
  readonly epochs: number;
  readonly seconds: number;
  /** Training samples a second over the run. */
  readonly imagesPerSecond: number;
  /** How long training stood still for checkpoints, as a part of `seconds`; absent where there were none. */
  readonly checkpointPause?: number;
  readonly test?: { readonly loss: number; readonly accuracy: number; readonly confusion: ConfusionMatrix };
  /** In order; may be empty. */
  readonly validation: readonly ValidationResult[];
  readonly classNames: readonly string[];
  readonly parametersHash: string;
  /** The command that trains the same parameters on one rank. */
  readonly reproduce: string;
  /** Who and what trained: `2 ranks x 1 thread, CPU AMD EPYC`. */
  readonly world: string;
  readonly runFolder: string;
  /** Where the hash holds, or why it may not: numerics fingerprints that differed. */
  readonly fingerprintNote?: string;
}

const LAST_EPOCHS = 10;

/**
 * @returns the report, lines joined by "\n", without a last line end.
 * @throws TelemetryError `BAD_CONFUSION_MATRIX`, as `classificationReport`.
 */
export function renderFinalReport(report: FinalReport, style: TextStyle = {}): string {
  const settled = { ...DEFAULT_STYLE, ...style };
  const name = wrapWords(`${plain(report.name)}: training finished`, settled.columns);
  const underline = (settled.unicode ? "═" : "=").repeat(Math.max(...name.map(displayWidth)));
  const heading = (text: string) => paint(text, ["bold"], settled.colour);
  const lines = [
    ...name.map((line) => paint(line, ["bold", "green"], settled.colour)),
    underline,
    ...facts(report, settled),
    ...(report.validation.length === 0 ? [] : ["", heading("Validation"), ...validation(report.validation, settled)]),
    ...(report.test === undefined ? [] : ["", heading("Test"), ...test(report.test, report.classNames, settled)]),
    "",
    heading("The same result again"),
    ...sameResult(report, settled),
  ];
  return lines.join("\n");
}

function facts(report: FinalReport, { columns }: Required<TextStyle>): string[] {
  const pace = `${formatCount(report.imagesPerSecond)} images/s`;
  const amount = `${counted(report.epochs, "epoch")}, ${counted(report.steps, "step")}`;
  const entries = [
    ["trained", `${amount} in ${formatDuration(report.seconds)} (${pace})`],
    ["on", plain(report.world)],
    ["run folder", plain(report.runFolder)],
    ...(report.checkpointPause === undefined
      ? []
      : [["checkpoints", `stood in training's way for ${formatPercent(report.checkpointPause)} of the time`] as const]),
  ] as const;
  const margin = Math.max(...entries.map(([label]) => label.length)) + 2;
  return entries.flatMap(([label, value]) => hanging(padEnd(label, margin), value, columns));
}

function validation(results: readonly ValidationResult[], style: Required<TextStyle>): string[] {
  const best = results.reduce((a, b) => (b.accuracy > a.accuracy || Number.isNaN(a.accuracy) ? b : a));
  const last = results.slice(-LAST_EPOCHS);
  const shown = last.includes(best) ? last : [best, ...last];
  const rows = shown.map((result) => [
    String(result.epoch),
    formatLoss(result.loss),
    formatPercent(result.accuracy) + (result === best ? " *" : "  "),
  ]);
  const table = renderTable(
    ["epoch", "loss", "accuracy  "].map((title) => ({ title, align: "right" })),
    rows,
    style,
  );
  const rest = results.length - shown.length;
  const note = `* the highest accuracy.${rest > 0 ? ` ${counted(rest, "more result")} in metrics.jsonl.` : ""}`;
  return [table, ...wrapWords(note, style.columns)];
}

function test(
  { loss, accuracy, confusion }: NonNullable<FinalReport["test"]>,
  classNames: readonly string[],
  style: Required<TextStyle>,
): string[] {
  const scores = classificationReport(confusion, classNames);
  const outcome =
    `${formatPercent(accuracy)} of ${counted(scores.samples, "sample")} that training never saw were classified ` +
    `right; loss ${formatLoss(loss)}.`;
  const terms =
    "Precision: how many of those predicted to be of a class are. Recall: how many of a class were found. " +
    "F1: their harmonic mean. All from 0 to 1. Macro: every class counts the same; weighted: every sample.";
  return [
    ...wrapWords(outcome, style.columns),
    renderClassification(scores, style),
    ...wrapWords(terms, style.columns),
    "",
    renderConfusion(confusion, classNames, style),
  ];
}

function sameResult(report: FinalReport, { columns, colour }: Required<TextStyle>): string[] {
  const why = "Hash of the trained parameters. The command below, on one rank, gives the same hash:";
  const note = report.fingerprintNote === undefined ? [] : hanging("Note: ", plain(report.fingerprintNote), columns);
  return [
    ...wrapWords(why, columns),
    `  ${paint(plain(report.parametersHash), ["bold"], colour)}`,
    `  ${paint(plain(report.reproduce), ["cyan"], colour)}`,
    ...note,
  ];
}

function counted(count: number, what: string): string {
  return `${formatCount(count)} ${what}${count === 1 ? "" : "s"}`;
}

/** `text` behind a label, further lines indented to where it began. */
function hanging(label: string, text: string, columns: number): string[] {
  const margin = displayWidth(label);
  return wrapWords(text, columns - margin).map((line, k) => (k === 0 ? label : " ".repeat(margin)) + line);
}
