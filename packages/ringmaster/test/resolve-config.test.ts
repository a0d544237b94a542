import { syntheticImages } from "@ringmaster/data";
import { parseDefinition } from "@ringmaster/training";
import t from "tap";
import { adam, type TrainingOptions, tf } from "../src/index.ts";
import { resolveConfig } from "../src/run/resolve-config.ts";

const source = syntheticImages({ imageShape: [4, 4, 1], classes: 2, train: 120, test: 10, seed: 1 });

async function resolved(options: Partial<TrainingOptions>, threads = 1, fastDevRun = false) {
  const model = () => tf.sequential();
  const definition = parseDefinition(
    { data: source, model, optimizer: adam(), batchSize: 64, epochs: 3, ...options },
    "test",
  );
  return resolveConfig({ definition, dataset: await source.load(), name: "run", threads, fastDevRun });
}

t.test("S defaults to the compute threads, with eight samples a seat at least", async (t) => {
  t.equal((await resolved({}, 4)).seats, 4);
  t.equal((await resolved({}, 100)).seats, 8);
  t.equal((await resolved({ batchSize: 7 }, 4)).seats, 1);
  t.equal((await resolved({ seats: 3 }, 4)).seats, 3);
});

t.test("a twelfth of the training set is held back unless the config says otherwise", async (t) => {
  t.same((await resolved({})).validation, { count: 10, blockSize: 250 });
  t.equal((await resolved({ validation: { count: 0 } })).validation.count, 0);
});

t.test(
  "when to save, and what a number that is not finite does, reach the run's config as they were asked for",
  async (t) => {
    t.match(await resolved({}), {
      checkpoint: { everySteps: null, everyMinutes: null, keep: 3 },
      onNotFinite: "stop",
    });
    t.match(await resolved({ checkpoint: { everySteps: 50, everyMinutes: 0.5, keep: 7 }, onNotFinite: "skip" }), {
      checkpoint: { everySteps: 50, everyMinutes: 0.5, keep: 7 },
      onNotFinite: "skip",
    });
  },
);

t.test("a dev run is one epoch and says so in the config", async (t) => {
  const { epochs, fastDevRun } = await resolved({}, 1, true);
  t.same({ epochs, fastDevRun }, { epochs: 1, fastDevRun: true });
});

t.test("what fits no run is refused with the path to the field", async (t) => {
  await t.rejects(resolved({ batchSize: 4, seats: 8 }), {
    code: "CONFIG_INVALID",
    message: /seats: expected at most batchSize \(4\) seats.*found 8/,
  });
});
