import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { z } from "zod";
import { describeIssues, runConfigSchema, runProgressSchema } from "../src/index.ts";
import { runConfig, runProgress } from "./fixtures/arbitraries.ts";
import { config, progress } from "./fixtures/examples.ts";

const issuesOf = (schema: z.ZodType, value: unknown) => {
  const parsed = schema.safeParse(value);
  return parsed.success ? [] : describeIssues(parsed.error);
};

t.test("a configuration and a run's progress survive JSON", async (t) => {
  fc.assert(
    fc.property(runConfig, (value) =>
      assert.deepStrictEqual(runConfigSchema.parse(JSON.parse(JSON.stringify(value))), value),
    ),
  );
  fc.assert(
    fc.property(runProgress, (value) =>
      assert.deepStrictEqual(runProgressSchema.parse(JSON.parse(JSON.stringify(value))), value),
    ),
  );
  t.pass();
});

t.test("what is wrong with a configuration is said in a line for every field", async (t) => {
  const { optimizer } = config;
  const sgd = { kind: "sgd", learningRate: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0 };
  const cases: [change: object, lines: string[]][] = [
    [{}, []],
    [{ optimizer: sgd }, []],
    [{ seats: 64 }, []],
    [
      { optimizer: { ...optimizer, learningRate: -1 } },
      ["optimizer.learningRate: expected a number above 0, found -1"],
    ],
    [
      { optimizer: { ...optimizer, learningRate: Number.NaN } },
      ["optimizer.learningRate: expected a number above 0, found NaN"],
    ],
    [{ optimizer: { ...optimizer, beta1: 1 } }, ["optimizer.beta1: expected a number from 0 to below 1, found 1"]],
    [{ optimizer: { ...optimizer, kind: "rmsprop" } }, ['optimizer.kind: expected "adam" or "sgd", found "rmsprop"']],
    [{ optimizer: "adam" }, ['optimizer: expected an object whose kind is "adam" or "sgd", found "adam"']],
    [{ optimizer: { ...sgd, nesterov: "yes" } }, ['optimizer.nesterov: expected true or false, found "yes"']],
    [{ batchSize: 65537 }, ["batchSize: expected a whole number from 1 to 65536, found 65537"]],
    [{ batchSize: "64" }, ['batchSize: expected a whole number from 1 to 65536, found "64"']],
    [{ seed: 2 ** 32 }, ["seed: expected a whole number from 0 to 4294967295, found 4294967296"]],
    [
      { seed: 0.5, epochs: 0 },
      [
        "seed: expected a whole number from 0 to 4294967295, found 0.5",
        "epochs: expected a whole number from 1 to 1000000, found 0",
      ],
    ],
    [{ maxSteps: undefined }, ["maxSteps: expected a whole number from 1 to 4294967295, found nothing"]],
    [{ segmentBytes: 100 }, ["segmentBytes: expected a multiple of 64 from 64 to 262144, found 100"]],
    [{ segmentBytes: 2 ** 19 }, ["segmentBytes: expected a multiple of 64 from 64 to 262144, found 524288"]],
    [{ precision: "float64" }, ['precision: expected "float32" or "bfloat16" or "float16", found "float64"']],
    [
      { validation: { count: -1, blockSize: 1 } },
      ["validation.count: expected a whole number of at least 0, found -1"],
    ],
    [{ validation: [] }, ["validation: expected an object with count, blockSize, found a list of 0 items"]],
    [
      { name: "../up" },
      [
        'name: expected 1 to 100 letters, digits, dots, underscores or hyphens, the first a letter or digit, found "../up"',
      ],
    ],
    [
      { name: "n".repeat(101) },
      [
        `name: expected 1 to 100 letters, digits, dots, underscores or hyphens, the first a letter or digit, found "${"n".repeat(58)}…`,
      ],
    ],
    [
      { checkpoint: { everySteps: 10, everyMinutes: null, keep: 1, kep: 2 } },
      ['checkpoint: expected only everySteps, everyMinutes, keep, found also "kep"'],
    ],
    [{ checkpoint: { everySteps: null, everyMinutes: 0.5, keep: 1 } }, []],
    [
      { checkpoint: { everySteps: 10, everyMinutes: 0, keep: 1 } },
      ["checkpoint.everyMinutes: expected a number above 0, found 0"],
    ],
    [
      { checkpoint: { everySteps: 10, keep: 1 } },
      ["checkpoint.everyMinutes: expected a number above 0, found nothing"],
    ],
    [{ onNotFinite: "skip" }, []],
    [{ onNotFinite: "ignore" }, ['onNotFinite: expected "stop" or "skip" or "restore", found "ignore"']],
    [{ device: () => "gpu" }, ['device: expected "auto" or "cpu" or "gpu" or "gpu:1", found a function']],
    [
      { seats: 65 },
      [
        "seats: expected at most batchSize (64) seats, so that each has a sample of every full batch, found 65: " +
          "set seats to 64 or fewer, or batchSize to 65 or more",
      ],
    ],
  ];
  for (const [change, lines] of cases) t.strictSame(issuesOf(runConfigSchema, { ...config, ...change }), lines);
});

t.test("what is no configuration at all is said in one line", async (t) => {
  for (const [value, found] of [
    [undefined, "nothing"],
    [null, "null"],
    [[1], "a list of 1 items"],
    [7n, "the bigint 7"],
  ] as const) {
    t.match(issuesOf(runConfigSchema, value), [/^the whole: expected an object with name, seed, /]);
    t.ok(issuesOf(runConfigSchema, value)[0]?.endsWith(`, found ${found}`), found);
  }
});

t.test("a run's progress holds finite numbers only", async (t) => {
  const sums = progress.epochSums;
  t.strictSame(issuesOf(runProgressSchema, { ...progress, epochSums: { ...sums, loss: Number.POSITIVE_INFINITY } }), [
    "epochSums.loss: expected a finite number, found Infinity",
  ]);
  t.strictSame(issuesOf(runProgressSchema, { ...progress, best: { step: 1, accuracy: 1.01 } }), [
    "best.accuracy: expected a number from 0 to 1, found 1.01",
  ]);
  t.strictSame(issuesOf(runProgressSchema, { ...progress, evaluations: {} }), [
    "evaluations: expected a list of 0 to 65536 items, found an object without fields",
  ]);
});

t.test("schemas from elsewhere are described as well", async (t) => {
  const schema = z.strictObject({
    size: z.number().gt(3),
    names: z.array(z.string().min(2)),
    mode: z.enum(["a", "b"]),
    even: z.number().multipleOf(2),
    link: z.string().regex(/^x/),
    odd: z.number().refine((value) => value % 2 === 1, "must be odd"),
  });
  const value = { size: 3, names: ["ok", "x", 5], mode: "c", even: 3, link: "y", odd: 2, more: 1 };
  const { error } = schema.safeParse(value);
  t.ok(error);
  if (error === undefined) return;
  t.strictSame(describeIssues(error, value), [
    "size: expected a number above 3, found 3",
    'names[1]: expected text whose length is at least 2, found "x"',
    "names[2]: expected text, found 5",
    'mode: expected "a" or "b", found "c"',
    "even: expected a multiple of 2, found 3",
    'link: expected text like /^x/, found "y"',
    "odd: must be odd",
    'the whole: expected no other fields, found also "more"',
  ]);
  t.equal(describeIssues(error)[0], "size: expected a number above 3", "without the value");
});
