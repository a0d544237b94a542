import { readdirSync } from "node:fs";
import { Command, InvalidArgumentError } from "commander";
import t from "tap";
import { addCoordinator } from "../src/commands/coordinator.ts";
import { addRunOptions, defaultThreads, integer, overridesOf, type RunOptions } from "../src/commands/options.ts";
import { addResume } from "../src/commands/resume.ts";
import { addTrain } from "../src/commands/train.ts";
import { exitCodeOf, explainError } from "../src/exit-codes.ts";

function parse(...args: string[]): RunOptions {
  const command = addRunOptions(new Command("train"))
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  command.parse(args, { from: "user" });
  return command.opts<RunOptions>();
}

/** A whole command line, to its end: no error, or the one that it ends in. */
async function run(...args: string[]): Promise<void> {
  const program = new Command("ringmaster").exitOverride().configureOutput({ writeErr: () => {} });
  for (const add of [addTrain, addResume, addCoordinator]) add(program, () => {});
  await program.parseAsync(args, { from: "user" });
}

t.test("--set takes a path and a value, JSON where it is JSON", async (t) => {
  const { set } = parse(
    "--set",
    "optimizer.learningRate=0.01",
    "--set",
    "name=mine",
    "--set",
    "seats=auto",
    "--set",
    "checkpoint.everySteps=null",
  );
  t.same(set, [
    { path: "optimizer.learningRate", value: 0.01 },
    { path: "name", value: "mine" },
    { path: "seats", value: "auto" },
    { path: "checkpoint.everySteps", value: null },
  ]);
  for (const bad of ["novalue", "=1", "1a=2"])
    t.throws(() => parse("--set", bad), { code: "commander.invalidArgument" }, bad);
});

t.test("the named options are overrides that win over --set", async (t) => {
  const options = parse("--set", "seats=2", "--seats", "4", "--max-steps", "7", "--device", "cpu");
  t.same(overridesOf(options), [
    { path: "seats", value: 2 },
    { path: "seats", value: 4 },
    { path: "maxSteps", value: 7 },
    { path: "device", value: "cpu" },
  ]);
});

t.test("seats are balanced by threads unless by speed is asked for, which is no field of the config", async (t) => {
  t.equal(parse().balance, "threads");
  t.equal(parse("--balance", "threads").balance, "threads");
  const options = parse("--balance", "speed");
  t.equal(options.balance, "speed");
  t.same(overridesOf(options), []);
  for (const bad of ["", "Speed", "memory"])
    for (const command of [
      ["train", "c.ts"],
      ["resume", "run"],
      ["coordinator", "c.ts"],
    ])
      await t.rejects(run(...command, "--balance", bad), {
        code: "commander.invalidArgument",
        message: /--balance <by>.*Allowed choices are threads, speed/,
      });
});

t.test("a coordinator leads a new run, a resumed one or a recovered one: exactly one of them", async (t) => {
  const expected = {
    code: "BAD_OPTION",
    message: /expected a config file, or --resume or --recover with a run's folder/,
  };
  await t.rejects(run("coordinator"), expected);
  await t.rejects(run("coordinator", "c.ts", "--resume", "run"), expected);
  await t.rejects(run("coordinator", "c.ts", "--recover", "run"), expected);
});

for (const given of [
  ["--resume", "run"],
  ["--max-steps", "7"],
  ["--name", "mine"],
  ["--seats", "2"],
  ["--set", "epochs=3"],
  ["--fast-dev-run"],
]) {
  t.test(`--recover takes a run as it was: ${given[0]} beside it is refused`, async (t) => {
    await t.rejects(run("coordinator", "--recover", "run", ...given), {
      code: "commander.conflictingOption",
      message: new RegExp(`option '--recover <run>' cannot be used with option '${given[0]}`),
    });
  });
}

for (const option of ["--resume", "--recover"]) {
  t.test(`${option} of a folder that holds no run names what is missing, and writes nothing there`, async (t) => {
    const folder = t.testdir({});
    await t.rejects(run("coordinator", option, folder, "--balance", "speed", "--port", "0"), {
      code: "CONFIG_MISSING",
      message: /config\.json is not there: .* is no run folder/,
    });
    t.same(readdirSync(folder), []);
  });
}

t.test("numbers are whole and within bounds", async (t) => {
  t.equal(integer(1, 8)("8"), 8);
  for (const bad of ["", "0", "9", "1.5", "x", "1e9"]) t.throws(() => integer(1, 8)(bad), InvalidArgumentError, bad);
});

t.test("threads default to the cores that a local rank has, one at least", async (t) => {
  t.equal(defaultThreads(100_000), 1);
  t.ok(defaultThreads(1) >= 1);
});

t.test("exit codes tell wrong usage from a run that failed", async (t) => {
  for (const code of ["CONFIG_INVALID", "IDX_TRUNCATED", "PORT_TAKEN", "LIBTENSORFLOW_MISSING", "RUN_EXISTS"])
    t.equal(exitCodeOf(code), 2, code);
  for (const code of ["WORKER_LOST", "CHECKPOINT_CORRUPT", "TOKEN_REFUSED", "UNEXPECTED"])
    t.equal(exitCodeOf(code), 1, code);
});

t.test("an error is one line with its code", async (t) => {
  t.same(explainError(Object.assign(new Error("two\n  lines"), { code: "WORKER_LOST" })), {
    code: "WORKER_LOST",
    message: "two lines",
  });
  t.same(explainError(new TypeError("odd")), { code: "UNEXPECTED", message: "TypeError: odd" });
  t.same(explainError("text"), { code: "UNEXPECTED", message: "text" });
});
