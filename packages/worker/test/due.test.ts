import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { boundaryAfter, dueAfter, runLength } from "../src/due.ts";
import { config, progressAt } from "./fixtures/messages.ts";

const lengths = [
  { epochs: 3, maxSteps: null, totalSteps: 15 },
  { epochs: 3, maxSteps: 7, totalSteps: 7 },
  { epochs: 3, maxSteps: 15, totalSteps: 15 },
  { epochs: 3, maxSteps: 100, totalSteps: 15 },
];
for (const { epochs, maxSteps, totalSteps } of lengths)
  t.test(`${epochs} epochs of 5 steps, at most ${maxSteps ?? "any"}, are ${totalSteps} steps`, async (t) => {
    t.same(runLength({ ...config, epochs, maxSteps }, 5), { stepsPerEpoch: 5, totalSteps });
  });

const nothing = { hash: false, validation: false, checkpoint: false, end: false };
const hashed = { ...nothing, hash: true };
const saved = { ...hashed, checkpoint: true };
const cases = [
  { name: "within an epoch nothing", done: 1, changes: {}, due: nothing },
  { name: "a hash by its steps", done: 3, changes: { hashEverySteps: 3 }, due: hashed },
  {
    name: "a checkpoint by its steps, with its hash",
    done: 4,
    changes: { checkpoint: { everySteps: 2, everyMinutes: null, keep: 1 } },
    due: saved,
  },
  {
    name: "no checkpoint between its steps",
    done: 3,
    changes: { checkpoint: { everySteps: 2, everyMinutes: null, keep: 1 } },
    due: nothing,
  },
  {
    name: "at an epoch's end validation, hash and checkpoint",
    done: 5,
    changes: {},
    due: { ...saved, validation: true },
  },
  {
    name: "without a validation set no validation",
    done: 5,
    changes: { validation: { count: 0, blockSize: 1 } },
    due: saved,
  },
  { name: "at the run's end everything", done: 10, changes: {}, due: { ...saved, validation: true, end: true } },
  {
    name: "at the end by steps no validation: the epoch has not ended",
    done: 7,
    changes: { maxSteps: 7 },
    due: { ...saved, end: true },
  },
];
for (const { name, done, changes, due } of cases)
  t.test(`due after step ${done}: ${name}`, async (t) => {
    const run = { ...config, ...changes };
    t.same(dueAfter(done, run, runLength(run, 5)), due);
  });

t.test("whatever the config, a checkpoint comes with its hash, and the last step with a checkpoint", async (t) => {
  const run = fc.record({
    epochs: fc.integer({ min: 1, max: 4 }),
    maxSteps: fc.option(fc.integer({ min: 1, max: 40 })),
    hashEverySteps: fc.integer({ min: 1, max: 9 }),
    everySteps: fc.option(fc.integer({ min: 1, max: 9 })),
    stepsPerEpoch: fc.integer({ min: 1, max: 9 }),
  });
  fc.assert(
    fc.property(run, ({ everySteps, stepsPerEpoch, ...changes }) => {
      const given = { ...config, ...changes, checkpoint: { everySteps, everyMinutes: null, keep: 1 } };
      const length = runLength(given, stepsPerEpoch);
      for (let done = 1; done <= length.totalSteps; done++) {
        const due = dueAfter(done, given, length);
        assert.ok(due.hash || !due.checkpoint);
        assert.equal(due.end, done === length.totalSteps);
        assert.ok(due.checkpoint || !due.end);
        assert.equal(due.validation, done % stepsPerEpoch === 0);
      }
    }),
  );
  t.pass();
});

const validated = (step: number) => ({
  ...progressAt(step),
  evaluations: [{ step, epoch: 1, split: "validation" as const, loss: 1, accuracy: 0.5, samples: 100 }],
});
const stopAt = (after: number) => ({ planId: 1, change: "stop" as const, after });
const checkpointAt = (after: number) => ({ planId: 1, change: "checkpoint" as const, after });
const boundaries = [
  { name: "before the first step there is none", progress: progressAt(0), effect: null, tasks: [], isLast: false },
  { name: "within an epoch", progress: progressAt(2), effect: null, tasks: [], isLast: false },
  {
    name: "at an epoch's end",
    progress: progressAt(5),
    effect: null,
    tasks: ["validation", "hash", "checkpoint"],
    isLast: false,
  },
  {
    name: "at the run's end",
    progress: progressAt(10),
    effect: null,
    tasks: ["validation", "hash", "checkpoint", "test"],
    isLast: true,
  },
  {
    name: "where a planned checkpoint took effect",
    progress: progressAt(2),
    effect: checkpointAt(2),
    tasks: ["hash", "checkpoint"],
    isLast: false,
  },
  {
    name: "where a stop took effect",
    progress: progressAt(2),
    effect: stopAt(2),
    tasks: ["hash", "checkpoint"],
    isLast: true,
  },
  {
    name: "after a step at which a plan took effect",
    progress: progressAt(3),
    effect: checkpointAt(2),
    tasks: [],
    isLast: false,
  },
  { name: "of a checkpoint of an epoch's end", progress: validated(5), effect: null, tasks: [], isLast: false },
  { name: "of a checkpoint of the run's end", progress: validated(10), effect: null, tasks: ["test"], isLast: true },
  {
    name: "of a run that is over by now",
    progress: progressAt(12),
    effect: null,
    tasks: ["hash", "checkpoint", "test"],
    isLast: true,
  },
  { name: "of an earlier validation", progress: { ...validated(5), step: 6 }, effect: null, tasks: [], isLast: false },
];
for (const { name, progress, effect, tasks, isLast } of boundaries)
  t.test(`the boundary ${name}`, async (t) => {
    t.same(boundaryAfter(progress, effect, config, runLength(config, 5)), { tasks, isLast });
  });
