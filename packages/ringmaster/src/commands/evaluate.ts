import type { BackendOptions } from "@ringmaster/backend";
import {
  classificationReport,
  formatLoss,
  formatPercent,
  renderClassification,
  renderConfusion,
  terminalStyle,
} from "@ringmaster/telemetry";
import { prepareData } from "@ringmaster/training";
import { evaluateState } from "@ringmaster/worker";
import { type Command, Option } from "commander";
import { exitCodes } from "../exit-codes.ts";
import { checkpointOption, openRun } from "../run/open-run.ts";
import { loadRunDataset } from "../run/run-record.ts";
import { openDevice } from "../run/work.ts";
import { sayOnStderr } from "../say-on-stderr.ts";
import { UsageError } from "../usage-error.ts";
import { backendOption, computeOnOf, defaultThreads, deviceOption, threadsOption } from "./options.ts";

interface EvaluateOptions extends BackendOptions {
  readonly split: "test" | "validation";
  readonly checkpoint: string;
  readonly threads?: number;
  readonly json?: boolean;
}

export function addEvaluate(program: Command, exit: (code: number) => void): void {
  program
    .command("evaluate <run>")
    .description("loss, accuracy, confusion matrix and per-class scores of a run's checkpoint")
    .addOption(new Option("--split <split>", "which samples").choices(["test", "validation"]).default("test"))
    .addOption(checkpointOption())
    .addOption(threadsOption())
    .addOption(backendOption())
    .addOption(deviceOption())
    .option("--json", "print the result as JSON")
    .action(async (run: string, options: EvaluateOptions) => {
      await evaluate(run, options);
      exit(exitCodes.done);
    });
}

async function evaluate(runFolder: string, options: EvaluateOptions): Promise<void> {
  const { split, checkpoint: which, threads = defaultThreads(1), json } = options;
  const { file, loaded, checkpoint } = await openRun(runFolder, which);
  const dataset = await loadRunDataset(runFolder, file, loaded);
  const { computeOn } = await openDevice({ ...loaded.definition, ...computeOnOf(options) }, sayOnStderr);
  const { config } = file;
  const saved = new Map(checkpoint.model.map(({ name, data }) => [name, data]));
  const evaluation = await evaluateState({
    configPath: loaded.path,
    config,
    computeOn,
    dataset,
    data: prepareData(dataset, config),
    threads,
    split,
    restore(tensors) {
      for (const { name, data } of tensors.model) {
        const values = saved.get(name);
        if (values?.length !== data.length)
          throw new UsageError(
            "CONFIG_CHANGED",
            `the checkpoint has no tensor ${name} of ${data.length} values: is the config still the run's?`,
          );
        data.set(values);
      }
    },
  });
  const { samples, confusion: counts, classes } = evaluation;
  const confusion = { classes, counts };
  const report = classificationReport(confusion, dataset.classNames);
  const loss = evaluation.loss / samples;
  if (json) {
    process.stdout.write(
      `${JSON.stringify({ run: runFolder, step: checkpoint.step, split, loss, ...report, confusion: counts })}\n`,
    );
    return;
  }
  const style = terminalStyle({
    isTTY: process.stdout.isTTY === true,
    columns: process.stdout.columns,
    env: process.env,
  });
  const heading = `${split}, step ${checkpoint.step}: loss ${formatLoss(loss)}, accuracy ${formatPercent(report.accuracy)} of ${samples} samples`;
  process.stdout.write(
    `${heading}\n\n${renderClassification(report, style)}\n\n${renderConfusion(confusion, dataset.classNames, style)}\n`,
  );
}
