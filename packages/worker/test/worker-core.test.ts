import t from "tap";
import { joining, preparing, readyToBegin, stepping } from "./fixtures/core.ts";
import { begin, config, evaluationOf, hash, progressAt, ready, startOf, stepHeld, stop } from "./fixtures/messages.ts";

const fromCoordinator = "coordinator" as const;

t.test("a rank prepares when it is told its start, says that it is ready, and steps when all are", async (t) => {
  const { core, input } = joining();
  const start = startOf(1);
  t.same(input({ type: fromCoordinator, message: start }), [{ type: "prepare", start }]);
  t.equal(core.phase, "preparing");
  t.same(input({ type: "prepared", stepsPerEpoch: 5, ready }), [
    { type: "send", message: { type: "WorkerReady", generation: 1, stepsPerEpoch: 5, totalSteps: 10, ...ready } },
  ]);
  t.equal(core.phase, "ready");
  t.same(input({ type: fromCoordinator, message: begin(0) }), [
    { type: "step", step: 0, plan: false, lossScale: 1, update: null },
  ]);
  t.equal(core.phase, "stepping");
});

t.test("a held step is said with its sums, and the next follows with the optimizer's update", async (t) => {
  const { core, input } = stepping();
  const held = stepHeld();
  t.same(input(held), [
    {
      type: "send",
      message: {
        type: "WorkerHeld",
        generation: 1,
        step: 1,
        tail: { loss: 32, correct: 16, samples: 64, plan: 0, overflowed: 0 },
        timing: held.timing,
        memoryBytes: 1000,
      },
    },
    {
      type: "step",
      step: 1,
      plan: false,
      lossScale: 1,
      update: { optimizerStep: 1, samples: 64, lossScale: 1 },
    },
  ]);
  t.same(input({ type: "updated" }), [], "no word is needed: the step is under way");
  t.equal(core.stepsDone, 1);
});

const everything = { hashEverySteps: 3, checkpoint: { everySteps: 2, keep: 3 } };
const boundaries: readonly { rank: number; steps: readonly (readonly string[])[] }[] = [
  {
    rank: 0,
    steps: [
      ["WorkerHeld", "step 1 after update"],
      ["WorkerHeld", "update", "hash", "WorkerStateHash", "uploadState", "step 2"],
      ["WorkerHeld", "update", "validation", "WorkerEvaluated", "hash", "WorkerStateHash", "uploadState", "step 3"],
      ["WorkerHeld", "update", "hash", "WorkerStateHash", "uploadState", "step 4"],
      ["WorkerHeld", "step 5 after update"],
      [
        "WorkerHeld",
        "update",
        "validation",
        "WorkerEvaluated",
        "hash",
        "WorkerStateHash",
        "uploadState",
        "test",
        "WorkerEvaluated",
        "WorkerDone",
      ],
    ],
  },
  {
    rank: 1,
    steps: [
      ["WorkerHeld", "step 1 after update"],
      ["WorkerHeld", "update", "hash", "WorkerStateHash", "step 2"],
      ["WorkerHeld", "update", "validation", "hash", "WorkerStateHash", "step 3"],
      ["WorkerHeld", "update", "hash", "WorkerStateHash", "step 4"],
      ["WorkerHeld", "step 5 after update"],
      ["WorkerHeld", "update", "validation", "hash", "WorkerStateHash", "test", "WorkerDone"],
    ],
  },
];
for (const { rank, steps } of boundaries)
  t.test(
    `rank ${rank} works through each boundary in the one order${rank === 0 ? "" : ", and leaves upload and reports to rank 0"}`,
    async (t) => {
      const { core, step } = stepping({ rank, stepsPerEpoch: 3, config: everything });
      for (const [index, words] of steps.entries()) t.same(step(), words, `after step ${index}`);
      t.equal(core.phase, "finishing");
    },
  );

t.test("a run without validation only tests at its end", async (t) => {
  const { step } = stepping({ stepsPerEpoch: 1, config: { validation: { count: 0, blockSize: 10 } } });
  t.notOk(step().includes("validation"));
  t.same(
    step().filter((word) => word === "validation" || word === "test"),
    ["test"],
  );
});

t.test("a run that ends by its steps ends in the middle of an epoch", async (t) => {
  const { input, step } = stepping({ stepsPerEpoch: 5, config: { maxSteps: 2 } });
  step();
  t.same(step(), [
    "WorkerHeld",
    "update",
    "hash",
    "WorkerStateHash",
    "uploadState",
    "test",
    "WorkerEvaluated",
    "WorkerDone",
  ]);
  t.same(input({ type: fromCoordinator, message: { type: "CoordinatorFinish", reason: "the run is over" } }), [
    { type: "end", exitCode: 0, code: "FINISHED", message: "the run is over" },
  ]);
});

t.test("the state goes up with the progress that the validation left", async (t) => {
  const { input } = stepping({ stepsPerEpoch: 1 });
  t.match(input(stepHeld(), { type: "updated" }).at(-1), { type: "evaluate", split: "validation" });
  const evaluation = evaluationOf("validation", 60);
  t.match(input({ type: "evaluationHeld", evaluation }), [
    { type: "send", message: { type: "WorkerEvaluated", generation: 1, step: 1, evaluation } },
    { type: "hash" },
  ]);
  t.match(input({ type: "hashed", hash: hash("e") }), [
    { type: "send", message: { type: "WorkerStateHash", generation: 1, step: 1, hash: hash("e") } },
    { type: "uploadState", progress: { step: 1, epoch: 1, best: { step: 1, accuracy: 0.6 } } },
    { type: "step", step: 1 },
  ]);
});

t.test("the test set leaves no trace in the state", async (t) => {
  const { core, step } = stepping({ stepsPerEpoch: 1, config: { epochs: 1 } });
  step();
  t.same(
    core.progress.evaluations.map(({ split }) => split),
    ["validation"],
  );
});

const wrongTails = [
  { name: "too few samples", tail: { samples: 63 }, found: /expected 64 samples .*found 63 samples/ },
  {
    name: "the first limb of the receipt differs",
    tail: { receipt: [9, 2, 3, 4] as const },
    found: /receipt 1\.2\.3\.4, found .* 9\.2\.3\.4/,
  },
  {
    name: "the last limb of the receipt differs",
    tail: { receipt: [1, 2, 3, 9] as const },
    found: /receipt 1\.2\.3\.4, found .* 1\.2\.3\.9/,
  },
];
for (const { name, tail, found } of wrongTails)
  t.test(`a step whose samples are not those of the sampler ends the rank: ${name}`, async (t) => {
    const { input } = stepping();
    input(stepHeld());
    const effects = input(stepHeld(tail));
    t.match(effects, [
      { type: "send", message: { type: "WorkerFailed", generation: 1, code: "RECEIPT_WRONG", message: found } },
      {
        type: "end",
        exitCode: 1,
        code: "RECEIPT_WRONG",
        message: /^step 1: a sample was left out, used twice or stale/,
      },
    ]);
  });

for (const loss of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
  t.test(`a loss of ${loss} ends the rank before the optimizer runs, naming the step`, async (t) => {
    const { input } = stepping();
    input(stepHeld());
    t.match(input(stepHeld({ loss })), [
      { type: "send", message: { type: "WorkerFailed", code: "LOSS_NOT_FINITE" } },
      {
        type: "end",
        exitCode: 1,
        code: "LOSS_NOT_FINITE",
        message: new RegExp(`^step 1: the loss is ${loss}: lower the learning rate`),
      },
    ]);
  });

const inFloat16 = { config: { precision: "float16" as const, hashEverySteps: 2 } };

t.test(
  "in float16 an overflow leaves the update out and halves the scale for the next step, on what is due too",
  async (t) => {
    const { core, input } = stepping(inFloat16);
    t.match(input(stepHeld()).at(-1), { type: "step", lossScale: 1024, update: { optimizerStep: 1, lossScale: 1024 } });
    t.match(input(stepHeld({ overflowed: 1 })), [
      { type: "send", message: { type: "WorkerHeld", step: 2, tail: { overflowed: 1 } } },
      { type: "hash" },
    ]);
    t.match(input({ type: "hashed", hash: hash("e") }).at(-1), { type: "step", step: 2, lossScale: 512, update: null });
    t.match(input(stepHeld()).at(-1), { update: { optimizerStep: 2, lossScale: 512 } });
    t.match(core.progress, { step: 3, optimizerSteps: 2, lossScale: { scale: 512, goodSteps: 1 } });
  },
);

t.test("a gradient that overflows at the smallest scale ends the rank", async (t) => {
  const { input } = stepping(inFloat16);
  for (let step = 0; step < 10; step++) input(stepHeld({ overflowed: 2 }), { type: "hashed", hash: hash("e") });
  t.match(input(stepHeld({ overflowed: 1 })).at(-1), {
    type: "end",
    exitCode: 1,
    code: "GRADIENT_NOT_FINITE",
    message: /^step 10: the gradient is not finite, at the smallest loss scale/,
  });
});

t.test("a validation whose loss is not finite ends the rank; a test's does not", async (t) => {
  const validation = stepping({ stepsPerEpoch: 1 });
  validation.input(stepHeld(), { type: "updated" }, { type: "hashed", hash: hash("e") });
  t.match(validation.input({ type: "evaluationHeld", evaluation: evaluationOf("validation", 1, Number.NaN) }).at(-1), {
    type: "end",
    code: "LOSS_NOT_FINITE",
    message: /validation after step 1/,
  });
  const test = stepping({ stepsPerEpoch: 1, config: { epochs: 1, validation: { count: 0, blockSize: 1 } } });
  test.input(stepHeld(), { type: "updated" }, { type: "hashed", hash: hash("e") });
  t.match(test.input({ type: "evaluationHeld", evaluation: evaluationOf("test", 1, Number.NaN) }).at(-1), {
    message: { type: "WorkerDone" },
  });
});

t.test(
  "a planned stop travels with the next step, and takes effect after the one that all seats had it in",
  async (t) => {
    const { input, step } = stepping();
    t.same(input({ type: fromCoordinator, message: stop }), [], "the step under way does not have it");
    t.match(input(stepHeld({ plan: 0 })).at(-1), { type: "step", plan: true });
    t.same(step({ plan: config.seats }), [
      "WorkerHeld",
      "update",
      "hash",
      "WorkerStateHash",
      "uploadState",
      "WorkerDone",
    ]);
  },
);

t.test("a stopped rank says so, and how far it came; it does not test", async (t) => {
  const { input } = stepping({ rank: 1 });
  input({ type: fromCoordinator, message: stop }, stepHeld(), stepHeld({ plan: config.seats }), { type: "updated" });
  t.same(input({ type: "hashed", hash: hash("e") }).at(-1), {
    type: "send",
    message: { type: "WorkerDone", generation: 1, step: 2, stopped: true },
  });
});

t.test("a stop that takes effect with the last step is the run's end", async (t) => {
  const { input, step } = stepping({ config: { maxSteps: 2 } });
  input({ type: fromCoordinator, message: stop });
  step();
  t.ok(step({ plan: config.seats }).includes("test"));
});

t.test("a stop counts only when all seats have it", async (t) => {
  const { input, step } = stepping({ stepsPerEpoch: 100 });
  input({ type: fromCoordinator, message: stop });
  step();
  for (const plan of [0, 1, config.seats - 1]) t.match(step({ plan }).at(-1), /^step .* after update$/);
});

t.test("a rank that has not sent the plan itself does not stop, whatever the word says", async (t) => {
  const { input, step } = stepping();
  t.same(step({ plan: config.seats }), ["WorkerHeld", "step 1 after update"]);
  // It hears of the plan while a step without it is under way.
  input({ type: fromCoordinator, message: stop });
  t.same(step({ plan: config.seats }), ["WorkerHeld", "step 2 after update"]);
});

t.test("a checkpoint that is planned does not stop the run", async (t) => {
  const { input, step } = stepping();
  input({
    type: fromCoordinator,
    message: { type: "CoordinatorPlan", generation: 1, planId: 1, change: "checkpoint" },
  });
  t.match(input(stepHeld()).at(-1), { type: "step", plan: false });
  t.same(step({ plan: config.seats }), ["WorkerHeld", "step 2 after update"]);
});

t.test("a resumed rank goes on where its checkpoint was made", async (t) => {
  const { core, input } = readyToBegin({ resumeAt: 7, stepsPerEpoch: 10 });
  t.same(core.progress, progressAt(7));
  t.same(input({ type: fromCoordinator, message: begin(7) }), [
    { type: "step", step: 7, plan: false, lossScale: 1, update: null },
  ]);
  t.match(input(stepHeld()), [{ message: { step: 8 } }, { update: { optimizerStep: 8 } }]);
});

t.test("a rank that is resumed at the run's end does nothing but say that it is done", async (t) => {
  const { core, input } = readyToBegin({ resumeAt: 10, stepsPerEpoch: 5 });
  t.same(input({ type: fromCoordinator, message: begin(10) }), [
    { type: "send", message: { type: "WorkerDone", generation: 1, step: 10, stopped: false } },
  ]);
  t.equal(core.phase, "finishing");
});

t.test("a begin at a step that is not this rank's state's is refused", async (t) => {
  const { input } = readyToBegin({ resumeAt: 7 });
  t.match(input({ type: fromCoordinator, message: begin(6) }), [
    { type: "send", message: { type: "WorkerFailed", code: "WRONG_STEP" } },
    { type: "end", exitCode: 1, code: "WRONG_STEP", message: /begin with step 6, .* step 7/ },
  ]);
});

const misplaced = [
  { name: "a begin before the start", from: joining, message: begin(0), found: /CoordinatorBegin while joining/ },
  { name: "a begin before it is ready", from: preparing, message: begin(0), found: /CoordinatorBegin while preparing/ },
  { name: "a second begin", from: stepping, message: begin(0), found: /CoordinatorBegin while stepping/ },
  { name: "a second start", from: stepping, message: startOf(0), found: /CoordinatorStart while stepping/ },
];
for (const { name, from, message, found } of misplaced)
  t.test(`${name} ends the rank`, async (t) => {
    t.match(from().input({ type: fromCoordinator, message }).at(-1), {
      type: "end",
      code: "UNEXPECTED_MESSAGE",
      message: found,
    });
  });

const endings = [
  {
    name: "the coordinator is gone",
    input: { type: "coordinatorLost", message: "its connection is lost" } as const,
    said: [],
    end: { exitCode: 1, code: "COORDINATOR_LOST", message: "its connection is lost" },
  },
  {
    name: "it is asked to end",
    input: { type: "terminate", reason: "SIGTERM" } as const,
    said: [{ type: "WorkerBye", reason: "SIGTERM" }],
    end: { exitCode: 143, code: "TERMINATED", message: "SIGTERM" },
  },
  {
    name: "the coordinator aborts the run",
    input: {
      type: fromCoordinator,
      message: { type: "CoordinatorAbort", code: "WORKER_LOST", message: "rank 1 is gone" },
    } as const,
    said: [],
    end: { exitCode: 1, code: "WORKER_LOST", message: "rank 1 is gone" },
  },
  {
    name: "a part of it fails",
    input: { type: "failed", code: "LINK_LOST", message: "the link to rank 1 ended" } as const,
    said: [{ type: "WorkerFailed", code: "LINK_LOST", message: "the link to rank 1 ended" }],
    end: { exitCode: 1, code: "LINK_LOST", message: "the link to rank 1 ended" },
  },
];
for (const { name, input, said, end } of endings)
  for (const from of [joining, preparing, readyToBegin, stepping])
    t.test(`a rank ends when ${name} (${from.name}), and says nothing more`, async (t) => {
      const driven = from();
      t.match(driven.input(input), [...said.map((message) => ({ type: "send", message })), { type: "end", ...end }]);
      t.equal(driven.core.phase, "ended");
      t.same(driven.input(input, stepHeld(), { type: "updated" }, { type: fromCoordinator, message: begin(0) }), []);
    });

t.test("what is only news changes nothing", async (t) => {
  const { core, input } = stepping();
  t.same(
    input(
      { type: fromCoordinator, message: { type: "CoordinatorHeartbeat", sentAtMs: 5 } },
      { type: fromCoordinator, message: { type: "CoordinatorSaved", step: 5 } },
    ),
    [],
  );
  t.equal(core.phase, "stepping");
});
