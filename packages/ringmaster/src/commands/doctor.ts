import { type BackendOptions, numericsFingerprint, openBackend, readDeviceFacts } from "@ringmaster/backend";
import type { Command } from "commander";
import { judgeDevices, type Wanted } from "../doctor/devices.ts";
import { canTrain, describeFinding, type Finding } from "../doctor/finding.ts";
import { memory, node, pip, processor } from "../doctor/machine.ts";
import { exitCodes, explainError } from "../exit-codes.ts";
import { backendOption, deviceOption } from "./options.ts";

interface DoctorOptions extends BackendOptions {
  readonly json?: boolean;
}

export function addDoctor(program: Command, exit: (code: number) => void): void {
  program
    .command("doctor")
    .description("say what this machine would train with and why, and what is missing")
    .addOption(backendOption())
    .addOption(deviceOption())
    .option("--json", "print the findings as JSON")
    .action(async ({ json, backend = "auto", device = "auto" }: DoctorOptions) => {
      const findings = await examine({ backend, device });
      process.stdout.write(json ? `${JSON.stringify(findings)}\n` : findings.map(describeFinding).join(""));
      exit(canTrain(findings) ? exitCodes.done : exitCodes.failed);
    });
}

async function examine(wanted: Wanted): Promise<Finding[]> {
  const facts = readDeviceFacts();
  const isAllSetUp = facts.builds.cpu.state === "installed";
  const findings = [node(), processor(), memory(), pip(!isAllSetUp), ...judgeDevices(wanted, facts)];
  return canTrain(findings) ? [...findings, await fingerprint(wanted)] : findings;
}

/** Opens what would train: that it is there does not mean that it loads. */
async function fingerprint(wanted: Wanted): Promise<Finding> {
  const what = "fingerprint";
  try {
    return { what, found: Object.values(numericsFingerprint(await openBackend(wanted))).join(", ") };
  } catch (error) {
    return { what, found: explainError(error).message, blocks: true };
  }
}
