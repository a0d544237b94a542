import { findMachineObstacle, installLibtensorflow, readDeviceFacts } from "@ringmaster/backend";
import type { Command } from "commander";
import { exitCodes } from "../exit-codes.ts";

export function addSetup(program: Command, exit: (code: number) => void): void {
  program
    .command("setup")
    .description("fetch what training needs and npm does not bring: libtensorflow, once for this user")
    .option("--gpu", "also the build for NVIDIA GPUs, with CUDA's libraries (3.2 GB to fetch, 5.3 GB of disk)")
    .action(async ({ gpu }: { gpu?: boolean }) => {
      const log = (line: string) => process.stdout.write(`${line}\n`);
      const how = { log, inheritTerminal: process.stdout.isTTY === true };
      await installLibtensorflow(how);
      if (gpu) {
        // Images are built on machines without GPUs.
        const obstacle = findMachineObstacle(readDeviceFacts());
        if (obstacle !== null)
          log(
            `this machine cannot use the build for GPUs, which is installed all the same: ${obstacle.found}; ${obstacle.next}`,
          );
        await installLibtensorflow({ ...how, build: "cuda" });
      }
      exit(exitCodes.done);
    });
}
