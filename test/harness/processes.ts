/**
 * Which processes a launch has, wherever they hang: a child whose parent was killed belongs to init and to no tree of ours. So every launch carries a word of
 * its own in its environment, which children inherit, and /proc tells who has it. A process that is dead and not yet waited for has no environment there.
 */
import { readdirSync, readFileSync } from "node:fs";

export interface LiveProcess {
  readonly pid: number;
  readonly role: "coordinator" | "worker" | "command";
  readonly command: readonly string[];
}

export const markVariable = "RINGMASTER_END_TO_END";

export function processesMarked(mark: string): LiveProcess[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      if (!listOf(name, "environ").includes(`${markVariable}=${mark}`)) return [];
      const command = listOf(name, "cmdline");
      // node, cli.js, the command.
      const [, , role] = command;
      return [{ pid: Number(name), role: role === "coordinator" || role === "worker" ? role : "command", command }];
    });
}

/** @returns whether there was such a process. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

/** It may end while it is read: then it has nothing. */
function listOf(pid: string, file: "environ" | "cmdline"): string[] {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8").split("\0");
  } catch {
    return [];
  }
}
