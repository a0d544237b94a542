#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { addBench } from "./commands/bench.ts";
import { addCoordinator } from "./commands/coordinator.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addEvaluate } from "./commands/evaluate.ts";
import { addPredict } from "./commands/predict.ts";
import { addResume } from "./commands/resume.ts";
import { addSetup } from "./commands/setup.ts";
import { addSimulate } from "./commands/simulate.ts";
import { addTrain } from "./commands/train.ts";
import { addWorker } from "./commands/worker.ts";
import { exitCodeOf, exitCodes, explainError } from "./exit-codes.ts";
import { UsageError } from "./usage-error.ts";

const program = new Command("ringmaster")
  .description("Distributed data-parallel training: the same bits for any world.")
  .version(version())
  // Told by `tell`, like every error.
  .configureOutput({ outputError: () => {} })
  .exitOverride();

const exit = (code: number) => {
  process.exitCode = code;
};
for (const add of [
  addTrain,
  addResume,
  addEvaluate,
  addPredict,
  addCoordinator,
  addWorker,
  addDoctor,
  addSetup,
  addSimulate,
  addBench,
])
  add(program, exit);

// What nobody foresaw is one line too; RINGMASTER_DEBUG=1 shows where it happened.
for (const event of ["uncaughtException", "unhandledRejection"] as const) {
  process.on(event, (error: unknown) => {
    tell(error);
    process.exit(exitCodes.failed);
  });
}
// A reader that has seen enough (| head) is no error.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(exitCodes.done);
    throw error;
  });
}

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = tell(error);
}

/** One line, never a stack trace. */
function tell(error: unknown): number {
  if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.done;
  // No command: the help was shown.
  if (error instanceof CommanderError && error.code === "commander.help") return exitCodes.usage;
  const { code, message } = explainError(error instanceof CommanderError ? badOption(error) : error);
  process.stderr.write(`ringmaster: ${message} [${code}]\n`);
  if (process.env["RINGMASTER_DEBUG"] && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return exitCodeOf(code);
}

function badOption({ message }: CommanderError): UsageError {
  return new UsageError("BAD_OPTION", `${message.replace(/^error: /, "")}; --help shows what is possible`);
}

function version(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return String((JSON.parse(text) as { version: unknown }).version);
}
