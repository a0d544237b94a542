/** The same bits across epochs: validation and checkpoints at their ends, and last batches that leave a seat without samples. */
import { cpuFeatures } from "@ringmaster/backend";
import t from "tap";
import { checkpoint, checkpointSteps, learning, smallConfig, testedAtEnd } from "./harness/run-files.ts";
import { named, Runs, set, upTo } from "./harness/runs.ts";

const ends = [5, 10, 15];

t.test("a small run of three epochs", async (t) => {
  const runs = new Runs(t, smallConfig);
  const reference = await runs.train({ ranks: 1 }, "reference");
  const bits = ends.map((step) => checkpoint(reference, step));
  const bitsOf = (run: string) => ends.map((step) => checkpoint(run, step));

  t.test("is validated at every epoch's end and tested once", async (t) => {
    const evaluations = learning(reference).filter((record) => record["type"] === "evaluation");
    t.same(
      evaluations.map(({ split, step, samples }) => [split, step, samples]),
      [
        ["validation", 5, 40],
        ["validation", 10, 40],
        ["validation", 15, 40],
        ["test", 15, 60],
      ],
    );
  });

  for (const world of [{ ranks: 1, threads: 4 }, { ranks: 2, threads: 2 }, { ranks: 3 }]) {
    t.test(`on ${named(world)} leaves the same bytes after every epoch`, async (t) => {
      const run = await runs.train(world, `on-${world.ranks}-${world.threads}`);
      t.same(bitsOf(run), bits);
      t.same(learning(run), learning(reference));
    });
  }

  t.test("stopped inside an epoch and at an epoch's end, each time resumed in another world", async (t) => {
    const run = await runs.train({ ranks: 3 }, "thrice", ...upTo(3));
    await runs.resume(run, { ranks: 1, threads: 2 }, ...upTo(10));
    await runs.resume(run, { ranks: 2 }, ...upTo(15));
    t.same(checkpointSteps(run), ends, "the last three stay");
    t.same(bitsOf(run), bits);
    t.same(testedAtEnd(run, 15), learning(reference));
  });

  t.test("sent in other segments leaves the same bytes", async (t) => {
    const run = await runs.train({ ranks: 3 }, "segments", ...set("segmentBytes", 256));
    t.same(bitsOf(run), bits);
  });

  const features = cpuFeatures();
  const hasBfloat16 = features.includes("avx512_bf16") || features.includes("amx_bf16");
  const inBfloat16 = { skip: hasBfloat16 ? false : "bfloat16 needs a CPU with avx512_bf16 or amx_bf16" };
  t.test("in bfloat16 has other bits, the same in every world", inBfloat16, async (t) => {
    const precision = set("precision", "bfloat16");
    const alone = await runs.train({ ranks: 1 }, "bfloat16", ...precision);
    t.not(checkpoint(alone, 15)["model.safetensors"], bits.at(-1)?.["model.safetensors"]);
    t.same(bitsOf(await runs.train({ ranks: 3 }, "bfloat16-on-3", ...precision)), bitsOf(alone));
  });

  t.test("compiled by XLA has other bits, the same in every world", async (t) => {
    const compiler = set("compiler", "xla");
    const alone = await runs.train({ ranks: 1 }, "xla", ...compiler);
    t.not(checkpoint(alone, 15)["model.safetensors"], bits.at(-1)?.["model.safetensors"]);
    t.same(bitsOf(await runs.train({ ranks: 3 }, "xla-on-3", ...compiler)), bitsOf(alone));
  });

  const others: readonly [what: string, name: string, ...more: string[]][] = [
    ["of another seed", "seed", ...set("seed", 7)],
    ["with other seats", "seats", ...set("seats", 3)],
  ];
  for (const [what, name, ...more] of others) {
    t.test(`${what} has other bits: the tests above can fail`, async (t) => {
      const run = await runs.train({ ranks: 1 }, name, ...more);
      t.not(checkpoint(run, 15)["model.safetensors"], bits.at(-1)?.["model.safetensors"]);
    });
  }
});
