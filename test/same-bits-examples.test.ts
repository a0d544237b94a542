/**
 * The same bits in every world for each example's model, in each precision, on each backend, and where a step is cut into more stages. Eight steps over a little of
 * MNIST: an epoch's short last batch, the validation at its end and a step of the next are in them. In float32 on libtensorflow, in two stages, same-bits.test.ts
 * and same-bits-batchnorm.test.ts show it for longer.
 */
import { join } from "node:path";
import { cpuFeatures } from "@ringmaster/backend";
import t from "tap";
import { exampleText, writeConfig } from "./harness/config-text.ts";
import { writeMnistFolder } from "./harness/idx-files.ts";
import { checkpoint, learning, workspace } from "./harness/run-files.ts";
import { named, Runs, set, upTo, type World } from "./harness/runs.ts";

const steps = 8;
const folder = workspace(t);
const mnistFolder = await writeMnistFolder(join(folder, "mnist"), { train: 900, test: 100 });

const features = cpuFeatures();
const hasBfloat16 = features.includes("avx512_bf16") || features.includes("amx_bf16");
const needsBfloat16 = hasBfloat16 ? false : "bfloat16 needs a CPU with avx512_bf16 or amx_bf16";

const examples = { "MNIST with dropout": "train.config.ts", "MNIST with BatchNorm": "batchnorm.config.ts" };
const elsewhere: readonly World[] = [{ ranks: 1, threads: 2 }, { ranks: 2 }];

interface Work {
  readonly what: string;
  readonly args: readonly string[];
  readonly worlds: readonly World[];
  /** The examples' names; default: all. */
  readonly of?: readonly string[];
  readonly skip?: string | false;
}

const works: readonly Work[] = [
  {
    what: "cut into three stages, on libtensorflow",
    args: set("bucketBytes", 65_536),
    worlds: [{ ranks: 1, threads: 2 }, { ranks: 3 }],
    of: ["MNIST with dropout"],
  },
  { what: "in bfloat16 on libtensorflow", args: set("precision", "bfloat16"), worlds: elsewhere, skip: needsBfloat16 },
  { what: "in float16 on libtensorflow", args: set("precision", "float16"), worlds: elsewhere },
  { what: "in float32 on the portable backend", args: ["--backend", "portable"], worlds: elsewhere },
];

for (const { what, args, worlds, of = Object.keys(examples), skip = false } of works) {
  for (const [name, example] of Object.entries(examples)) {
    if (!of.includes(name)) continue;
    t.test(`${name}, ${what}`, { skip }, async (t) => {
      const config = writeConfig(folder, example.replace(".config.ts", ""), exampleText(example, mnistFolder));
      const validation = [...set("validation.count", 100), ...set("validation.blockSize", 50)];
      const runs = new Runs(t, config, ["--seats", "4", ...validation, ...args]);
      const reference = await runs.train({ ranks: 1 }, "reference", ...upTo(steps));
      const bits = checkpoint(reference, steps);
      for (const world of worlds) {
        t.test(`on ${named(world)} leaves the same bytes`, async (t) => {
          const run = await runs.train(world, `on-${world.ranks}`, ...upTo(steps));
          t.same(checkpoint(run, steps), bits);
          t.same(learning(run), learning(reference));
        });
      }
    });
  }
}
