import { syntheticImages } from "@ringmaster/data";
import fc from "fast-check";
import t from "tap";
import { blockShapes, prepareData } from "../src/index.ts";
import { seatBlocks } from "../src/prepared-data.ts";

const dataset = await syntheticImages({ imageShape: [8, 8, 1], classes: 3, train: 600, test: 105, seed: 1 }).load();
const options = { seed: 42, batchSize: 32, seats: 4, validation: { count: 90, blockSize: 20 } };
const sizes = (blocks: readonly { first: number; end: number }[]) => blocks.map(({ first, end }) => end - first);

t.test("train and validation examples are told apart, all are used, and the test set is whole", async (t) => {
  const { sampler, evaluation } = prepareData(dataset, options);
  const trained = Array.from({ length: sampler.stepsPerEpoch }, (_, step) => [...sampler.batch(step)]).flat();
  t.equal(trained.length, 510);
  t.same(
    [...trained, ...evaluation.validation.ids].sort((a, b) => a - b),
    Array.from({ length: 600 }, (_, id) => id),
  );
  t.same([...evaluation.test.ids], [...Array(105).keys()]);
  t.equal(evaluation.validation.examples, dataset.train);
  t.equal(evaluation.test.examples, dataset.test);
  t.same(sizes(evaluation.validation.blocks), [20, 20, 20, 20, 10]);
  t.same(sizes(evaluation.test.blocks), [20, 20, 20, 20, 20, 5]);
  t.same(blockShapes(prepareData(dataset, options)), [20, 10, 5]);
});

t.test("the same options give the same data, another seed another split", async (t) => {
  const [one, again, other] = [options, options, { ...options, seed: 43 }].map((each) => prepareData(dataset, each));
  t.same(again?.evaluation.validation.ids, one?.evaluation.validation.ids);
  t.same(again?.sampler.batch(17), one?.sampler.batch(17));
  t.same(again?.table, one?.table);
  t.notSame(other?.evaluation.validation.ids, one?.evaluation.validation.ids);
});

t.test("a fast development run has three batches an epoch and two blocks an evaluation", async (t) => {
  const whole = prepareData(dataset, options);
  const fast = prepareData(dataset, { ...options, fastDevRun: true });
  t.equal(fast.sampler.stepsPerEpoch, 3);
  t.same(
    [0, 1, 2].map((step) => fast.sampler.positionOf(step).samples),
    [32, 32, 32],
  );
  t.same(sizes(fast.evaluation.validation.blocks), [20, 20]);
  t.same(sizes(fast.evaluation.test.blocks), [20, 20]);
  t.same(fast.evaluation.validation.ids, whole.evaluation.validation.ids.subarray(0, 40));
  t.same(fast.normalisation, whole.normalisation, "pixels mean the same");
  const held = new Set(whole.evaluation.validation.ids);
  t.notOk(
    [0, 1, 2].some((step) => fast.sampler.batch(step).some((id) => held.has(id))),
    "no validation example is trained on",
  );
});

t.test("a fast development run of a small dataset has what there is", async (t) => {
  const small = await syntheticImages({ imageShape: [4, 4, 1], classes: 2, train: 40, test: 0, seed: 1 }).load();
  const fast = prepareData(small, { ...options, validation: { count: 0, blockSize: 20 }, fastDevRun: true });
  t.equal(fast.sampler.stepsPerEpoch, 2);
  t.same(fast.evaluation.validation.blocks, []);
  t.same(fast.evaluation.test.blocks, []);
  t.same(blockShapes(fast), []);
});

t.test("what does not fit is refused", async (t) => {
  t.throws(() => prepareData(dataset, { ...options, validation: { count: 600, blockSize: 20 } }), {
    code: "VALIDATION_TOO_LARGE",
  });
  t.throws(() => prepareData(dataset, { ...options, seats: 33 }), { code: "TOO_MANY_SEATS" });
});

t.test("the seats' blocks are all blocks, in order, each once", async (t) => {
  const counts = fc.record({ count: fc.integer({ min: 0, max: 500 }), seats: fc.integer({ min: 1, max: 32 }) });
  const shared = fc.property(counts, ({ count, seats }) => {
    const { evaluation } = prepareData(dataset, {
      ...options,
      batchSize: 64,
      seats,
      validation: { count, blockSize: 20 },
    });
    const parts = Array.from({ length: seats }, (_, seat) => seatBlocks(evaluation.validation, seat, seats));
    const lengths = parts.map((part) => part.length);
    return (
      JSON.stringify(parts.flat()) === JSON.stringify(evaluation.validation.blocks) &&
      Math.max(...lengths) - Math.min(...lengths) <= 1
    );
  });
  t.doesNotThrow(() => fc.assert(shared, { numRuns: 40 }));
});
