import { syntheticImages } from "@ringmaster/data";
import t from "tap";
import { adam, defineTraining, parseDefinition, sgd, type TrainingOptions } from "../src/index.ts";

const data = syntheticImages({ imageShape: [8, 8, 1], classes: 3, train: 60, test: 12, seed: 1 });
const model: TrainingOptions["model"] = () => {
  throw new Error("not called here");
};
const good = defineTraining({ data, model, optimizer: adam(), batchSize: 32, epochs: 2 });

t.test("a short config gets its defaults", async (t) => {
  t.same(parseDefinition(good, "config.ts"), {
    name: null,
    seed: 42,
    data,
    model,
    optimizer: { kind: "adam", learningRate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
    batchSize: 32,
    epochs: 2,
    maxSteps: null,
    seats: "auto",
    validation: { count: null, blockSize: 250 },
    checkpoint: { everySteps: null, everyMinutes: null, keep: 3 },
    hashEverySteps: 100,
    bucketBytes: 26_214_400,
    segmentBytes: 262_144,
    onNotFinite: "stop",
    numerics: "any",
    precision: "float32",
    compiler: "grappler",
    backend: "auto",
    device: "auto",
  });
});

t.test("a full config is taken as it is", async (t) => {
  const full = defineTraining({
    ...good,
    name: "mnist.v2_a-b",
    seed: 2 ** 32 - 1,
    optimizer: sgd({ learningRate: 0.1, momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
    batchSize: 65_536,
    maxSteps: 10,
    seats: 1024,
    validation: { count: 0, blockSize: 1 },
    checkpoint: { everySteps: 5, everyMinutes: 0.5, keep: 1 },
    hashEverySteps: 1,
    bucketBytes: 4096,
    segmentBytes: 64,
    onNotFinite: "skip",
    numerics: "strict",
    precision: "bfloat16",
    compiler: "xla",
    backend: "portable" as const,
    device: "gpu",
  });
  t.same(parseDefinition(full, "config.ts"), full);
  t.match(parseDefinition({ ...full, validation: { blockSize: 10 } }, ""), {
    validation: { count: null, blockSize: 10 },
  });
});

/** What is wrong, and what the message must say: the path, what was expected, what was found. */
const bad: Record<string, [unknown, string]> = {
  "no config": [undefined, "the whole: expected an object"],
  "a number": [7, "the whole: expected an object, found 7"],
  "no data": [{ ...good, data: undefined }, "data: expected a data source, such as mnist(), found nothing"],
  "data that is none": [{ ...good, data: "mnist" }, 'data: expected a data source, such as mnist(), found "mnist"'],
  "the data's function, not called": [
    { ...good, data: () => data },
    "data: expected a data source, such as mnist(), found a function",
  ],
  "a model that is no function": [
    { ...good, model: {} },
    "model: expected a function that returns a tf.LayersModel, found an object without fields",
  ],
  "no optimizer": [{ ...good, optimizer: undefined }, "optimizer: expected adam(...) or sgd(...), found nothing"],
  "an optimizer by name": [{ ...good, optimizer: "adam" }, 'optimizer: expected adam(...) or sgd(...), found "adam"'],
  "an optimizer without a kind": [
    { ...good, optimizer: { learningRate: 1 } },
    "optimizer.kind: expected adam(...) or sgd(...), found an object with learningRate",
  ],
  "an optimizer that is none": [
    { ...good, optimizer: { kind: "rmsprop" } },
    'optimizer.kind: expected adam(...) or sgd(...), found "rmsprop"',
  ],
  "a negative learning rate": [
    { ...good, optimizer: { ...adam(), learningRate: -1 } },
    "optimizer.learningRate: expected a number above 0, found -1",
  ],
  "a learning rate of NaN": [
    { ...good, optimizer: { ...adam(), learningRate: Number.NaN } },
    "optimizer.learningRate: expected a number, found NaN",
  ],
  "a learning rate in words": [
    { ...good, optimizer: { ...adam(), learningRate: "0.1" } },
    'optimizer.learningRate: expected a number, found "0.1"',
  ],
  "beta1 of 1": [
    { ...good, optimizer: { ...adam(), beta1: 1 } },
    "optimizer.beta1: expected a number below 1, found 1",
  ],
  "an epsilon that is 0 in float32": [
    { ...good, optimizer: { ...adam(), epsilon: 1e-50 } },
    "optimizer.epsilon: expected a number above 0 in float32, found 1e-50",
  ],
  "nesterov without momentum": [
    { ...good, optimizer: { ...sgd({ learningRate: 1 }), nesterov: true } },
    "optimizer.nesterov: expected false, or a momentum above 0 beside it, found true beside momentum 0",
  ],
  "a misspelt hyper-parameter": [
    { ...good, optimizer: { ...adam(), lr: 1 } },
    'optimizer: expected no other fields, found also "lr"',
  ],
  "a misspelt field": [{ ...good, batchsize: 3 }, 'the whole: expected no other fields, found also "batchsize"'],
  "no batch size": [{ ...good, batchSize: undefined }, "batchSize: expected a number, found nothing"],
  "a batch of 0": [{ ...good, batchSize: 0 }, "batchSize: expected a number at least 1, found 0"],
  "half a sample": [{ ...good, batchSize: 0.5 }, "batchSize: expected a whole number, found 0.5"],
  "a batch that no receipt can count": [
    { ...good, batchSize: 65_537 },
    "batchSize: expected a number at most 65536, found 65537",
  ],
  "no epochs": [{ ...good, epochs: 0 }, "epochs: expected a number at least 1, found 0"],
  "a seed below 0": [{ ...good, seed: -1 }, "seed: expected a number at least 0, found -1"],
  "a seed of 33 bits": [{ ...good, seed: 2 ** 32 }, "seed: expected a number at most 4294967295, found 4294967296"],
  "no seats": [{ ...good, seats: 0 }, "seats: expected a number at least 1, found 0"],
  "seats in words": [
    { ...good, seats: "many" },
    'seats: expected "auto" or a whole number from 1 to 1024, found "many"',
  ],
  "maxSteps of 0": [{ ...good, maxSteps: 0 }, "maxSteps: expected a number at least 1, found 0"],
  "a name that is a path": [
    { ...good, name: "../run" },
    'name: expected text like /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, found "../run"',
  ],
  "a name that is no text": [{ ...good, name: 3 }, "name: expected text, found 3"],
  "a validation block of 0": [
    { ...good, validation: { blockSize: 0 } },
    "validation.blockSize: expected a number at least 1, found 0",
  ],
  "a misspelt field inside": [
    { ...good, validation: { size: 3 } },
    'validation: expected no other fields, found also "size"',
  ],
  "keep 0": [{ ...good, checkpoint: { keep: 0 } }, "checkpoint.keep: expected a number at least 1, found 0"],
  "a checkpoint every 0 minutes": [
    { ...good, checkpoint: { everyMinutes: 0 } },
    "checkpoint.everyMinutes: expected a number above 0, found 0",
  ],
  "a checkpoint in endless minutes": [
    { ...good, checkpoint: { everyMinutes: Number.POSITIVE_INFINITY } },
    "checkpoint.everyMinutes: expected a number, found Infinity",
  ],
  "minutes in words": [
    { ...good, checkpoint: { everyMinutes: "10" } },
    'checkpoint.everyMinutes: expected a number, found "10"',
  ],
  "half a step between checkpoints": [
    { ...good, checkpoint: { everySteps: 0.5 } },
    "checkpoint.everySteps: expected a whole number, found 0.5",
  ],
  "a segment that is not aligned": [
    { ...good, segmentBytes: 100 },
    "segmentBytes: expected a multiple of 64, found 100",
  ],
  "tiny buckets": [{ ...good, bucketBytes: 64 }, "bucketBytes: expected a number at least 4096, found 64"],
  "numerics that are none": [{ ...good, numerics: "loose" }, 'numerics: expected "any" or "strict", found "loose"'],
  "a way with NaN that is none": [
    { ...good, onNotFinite: "ignore" },
    'onNotFinite: expected "stop" or "skip" or "restore", found "ignore"',
  ],
  "a way with NaN that is nothing": [
    { ...good, onNotFinite: null },
    'onNotFinite: expected "stop" or "skip" or "restore", found null',
  ],
  "a compiler that is none": [{ ...good, compiler: "gcc" }, 'compiler: expected "grappler" or "xla", found "gcc"'],
  "a device that is none": [
    { ...good, device: "tpu" },
    'device: expected "auto" or "cpu" or "gpu" or "gpu:1", found "tpu"',
  ],
};
for (const [name, [config, expected]] of Object.entries(bad)) {
  t.test(`a bad config is refused: ${name}`, async (t) => {
    t.throws(() => parseDefinition(config, "config.ts"), {
      name: "TrainingError",
      code: "CONFIG_INVALID",
      message: `config.ts: ${expected}`,
    });
  });
}

t.test("everything that is wrong is said at once, in one line", async (t) => {
  const config = { ...good, batchSize: 0, epochs: 1.5, validation: { count: -1 } };
  t.throws(() => parseDefinition(config, "config.ts"), {
    message:
      "config.ts: batchSize: expected a number at least 1, found 0; epochs: expected a whole number, found 1.5; " +
      "validation.count: expected a number at least 0, found -1",
  });
});
