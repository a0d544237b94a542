import type { BackendOptions } from "@ringmaster/backend";
import { readIdx, readImage } from "@ringmaster/data";
import { formatPercent } from "@ringmaster/telemetry";
import { createPredictor } from "@ringmaster/training";
import { type Command, Option } from "commander";
import { exitCodes } from "../exit-codes.ts";
import { checkpointOption, openRun } from "../run/open-run.ts";
import { openDevice } from "../run/work.ts";
import { sayOnStderr } from "../say-on-stderr.ts";
import { UsageError } from "../usage-error.ts";
import { backendOption, computeOnOf, deviceOption, integer } from "./options.ts";

interface PredictOptions extends BackendOptions {
  readonly checkpoint: string;
  readonly first?: number;
  readonly json?: boolean;
}

type ImageShape = [height: number, width: number, channels: number];

interface Picture {
  readonly name: string;
  readonly pixels: Uint8Array;
}

/** So many pictures go through the model at a time. */
const atOnce = 250;

export function addPredict(program: Command, exit: (code: number) => void): void {
  program
    .command("predict <run> <images...>")
    .description("classify pictures (PNG, JPEG, WebP, ...) or the images of an idx file with a run's checkpoint")
    .addOption(checkpointOption())
    .addOption(backendOption())
    .addOption(deviceOption())
    .addOption(new Option("--first <n>", "only the first n images of an idx file").argParser(integer(1, 2 ** 31)))
    .option("--json", "a JSON object a line, with every class's probability")
    .action(async (run: string, images: string[], options: PredictOptions) => {
      await predict(run, images, options);
      exit(exitCodes.done);
    });
}

async function predict(
  runFolder: string,
  images: readonly string[],
  { checkpoint: which, first, json, ...given }: PredictOptions,
): Promise<void> {
  const { file, loaded, checkpoint } = await openRun(runFolder, which);
  const { imageShape, classNames, normalisation } = file.data;
  const definition = { ...loaded.definition, ...computeOnOf(given) };
  await openDevice(definition, sayOnStderr);
  const input = { imageShape, classes: classNames.length };
  const predictor = await createPredictor({
    definition,
    input,
    normalisation,
    weights: checkpoint.model,
  });
  for (const path of images) {
    const pictures = /idx\d-ubyte(\.gz)?$/.test(path)
      ? await picturesOfIdx(path, imageShape, first)
      : [{ name: path, pixels: await readImage(path, imageShape) }];
    for (let start = 0; start < pictures.length; start += atOnce) {
      const batch = pictures.slice(start, start + atOnce);
      const rows = await predictor.predict(Buffer.concat(batch.map(({ pixels }) => pixels)));
      rows.forEach((probabilities, index) => {
        process.stdout.write(
          `${json ? asJson(batch[index], probabilities, classNames) : asLine(batch[index], probabilities, classNames)}\n`,
        );
      });
    }
  }
}

async function picturesOfIdx(
  path: string,
  [height, width, channels]: ImageShape,
  first: number | undefined,
): Promise<Picture[]> {
  const { dims, data } = await readIdx(path);
  const [count = 0, ...shape] = dims;
  if (shape.join() !== [height, width].join() || channels !== 1) {
    throw new UsageError(
      "BAD_OPTION",
      `${path}: expected images of ${height} x ${width} x ${channels}, found ${shape.join(" x ")}`,
    );
  }
  const size = height * width;
  return Array.from({ length: Math.min(count, first ?? count) }, (_, index) => ({
    name: `${path}[${index}]`,
    pixels: data.subarray(index * size, (index + 1) * size),
  }));
}

const likeliest = (probabilities: readonly number[]): number => probabilities.indexOf(Math.max(...probabilities));

function asLine(picture: Picture | undefined, probabilities: readonly number[], classNames: readonly string[]): string {
  const best = likeliest(probabilities);
  return `${picture?.name ?? ""}: ${classNames[best]} (${formatPercent(probabilities[best] ?? 0)})`;
}

function asJson(picture: Picture | undefined, probabilities: readonly number[], classNames: readonly string[]): string {
  const byClass = Object.fromEntries(classNames.map((name, index) => [name, probabilities[index] ?? 0]));
  return JSON.stringify({ image: picture?.name, class: classNames[likeliest(probabilities)], probabilities: byClass });
}
