import { spawn } from "node:child_process";
import { CoordinatorError } from "@ringmaster/coordinator";

/** Runs a program to its end. @returns what it wrote to stdout. @throws CoordinatorError BENCH_FAILED with its last words. */
export function output(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
    let said = "";
    let complained = "";
    child.stdout.on("data", (data: Buffer) => {
      said += data.toString();
    });
    child.stderr.on("data", (data: Buffer) => {
      complained = (complained + data.toString()).slice(-2000);
    });
    child.once("error", (error) =>
      reject(new CoordinatorError("BENCH_FAILED", `${command} could not be run: ${error.message}`)),
    );
    child.once("close", (code) => {
      if (code === 0) return resolve(said);
      const lastWords = complained.trim().split("\n").at(-1);
      reject(
        new CoordinatorError(
          "BENCH_FAILED",
          `${command} ${args.slice(0, 2).join(" ")} ended with exit code ${code}: ${lastWords}`,
        ),
      );
    });
  });
}
