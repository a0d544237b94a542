import { Command, InvalidArgumentError } from "commander";
import t from "tap";
import { addRunOptions, defaultThreads, integer, overridesOf, type RunOptions } from "../src/commands/options.ts";
import { exitCodeOf, explainError } from "../src/exit-codes.ts";

function parse(...args: string[]): RunOptions {
  const command = addRunOptions(new Command("train"))
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  command.parse(args, { from: "user" });
  return command.opts<RunOptions>();
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
