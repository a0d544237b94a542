import { installLibtensorflow } from "@ringmaster/backend";
import type { Command } from "commander";
import { exitCodes } from "../exit-codes.ts";

export function addSetup(program: Command, exit: (code: number) => void): void {
  program
    .command("setup")
    .description("fetch what training needs and npm does not bring: libtensorflow, once for this user")
    .action(async () => {
      const inheritTerminal = process.stdout.isTTY === true;
      await installLibtensorflow({ log: (line) => process.stdout.write(`${line}\n`), inheritTerminal });
      exit(exitCodes.done);
    });
}
