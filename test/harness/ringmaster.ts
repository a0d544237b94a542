/** The command line as a user runs it: the built program, in processes of its own, whose output is kept and none of which outlives its test. */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { Test } from "tap";
import { type LiveProcess, markVariable, processesMarked, signal } from "./processes.ts";
import { patienceMs, until, within } from "./waiting.ts";
import { workspaceFolder } from "./workspace-folder.ts";

const commandLine = join(workspaceFolder, "packages", "ringmaster", "dist", "src", "cli.js");

/** What a process needs of whoever started it: that it is told when all is over. */
export type Owner = Pick<Test, "teardown">;

export interface Ended {
  /** null: ended by a signal. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** How long it may live before its end is given up on. Default: as long as anything is waited for. */
  readonly mostMs?: number;
}

/** A launch: the process that was started and all that it started. It leads a process group, as in a terminal. */
export interface Launch {
  readonly pid: number;
  /** So far. */
  stdout(): string;
  stderr(): string;
  /** The match of the first line, of stdout or stderr, that `pattern` is found in, in what was said already or will be. */
  line(pattern: RegExp): Promise<RegExpExecArray>;
  /** Looks until `look` finds something, and no longer than the started process lives. */
  until<Found>(what: string, look: () => Found | undefined | false): Promise<Found>;
  /** Those that live now. */
  processes(): LiveProcess[];
  /** What Ctrl-C does: a signal to the whole group. */
  interrupt(): void;
  /** The started process is gone, and all output is read. Fails after a generous time. */
  readonly ended: Promise<Ended>;
  /** Everything of the launch is over in time: the started process and all others. Says who is left if not. */
  goneWithin(timeoutMs: number): Promise<Ended>;
}

/** Starts `ringmaster ...args`. At the test's end whatever is left of it is killed. */
export function start(
  t: Owner,
  args: readonly string[],
  { env = {}, cwd, mostMs = patienceMs }: StartOptions = {},
): Launch {
  const mark = randomUUID();
  const child = spawn(process.execPath, [commandLine, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...plainEnvironment(), ...env, [markVariable]: mark },
    detached: true,
    ...(cwd !== undefined && { cwd }),
  });
  const { pid } = child;
  if (pid === undefined) throw new Error(`${process.execPath} could not be started`);
  const said = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      said[name] += text;
    });
  }
  const what = `ringmaster ${args.join(" ")}`;
  const told = () => `${what}\n--- stdout\n${said.stdout}\n--- stderr\n${said.stderr}`;
  const closed = new Promise<Ended>((resolve) => {
    child.on("close", (code, by) => resolve({ code, signal: by, ...said }));
  });
  const processes = () => processesMarked(mark);
  const ended = within(mostMs, "the command's end", closed).catch((error: Error) => {
    throw new Error(`${error.message}: ${told()}`);
  });
  ended.catch(() => {});
  let hasEnded = false;
  closed.then(() => {
    hasEnded = true;
  });
  const untilEnded = async <Found>(what: string, look: () => Found | undefined | false): Promise<Found> => {
    const found = await until(`${what}: ${told()}`, () => {
      // In this order: what it did last counts.
      const isOver = hasEnded;
      const seen = look();
      return seen === undefined || seen === false ? isOver && ({ ended: true } as const) : ({ seen } as const);
    });
    if ("seen" in found) return found.seen;
    throw new Error(`ended without ${what}: ${told()}`);
  };
  t.teardown(async () => {
    for (const each of processes()) signal(each.pid, "SIGKILL");
    await closed;
  });

  return {
    pid,
    stdout: () => said.stdout,
    stderr: () => said.stderr,
    line: (pattern) =>
      untilEnded(`a line like ${pattern}`, () => firstMatch(`${said.stdout}\n${said.stderr}`, pattern)),
    until: untilEnded,
    processes,
    interrupt: () => void process.kill(-pid, "SIGINT"),
    ended,
    async goneWithin(timeoutMs) {
      const isGone = () => hasEnded && processes().length === 0;
      await until("the end of all processes", isGone, timeoutMs).catch((error: Error) => {
        const left = processes().map(({ pid, command }) => `${pid} ${command.slice(2).join(" ")}`);
        throw new Error(`${error.message}; there are still ${left.join(" and ") || "open pipes"}: ${told()}`);
      });
      return ended;
    },
  };
}

/** Runs `ringmaster ...args` to its end. */
export const run = (t: Owner, args: readonly string[], options?: StartOptions): Promise<Ended> =>
  start(t, args, options).ended;

/** Runs it and insists on exit code 0; what it said is shown if it was another. */
export async function succeed(t: Owner, args: readonly string[], options?: StartOptions): Promise<Ended> {
  const ended = await run(t, args, options);
  if (ended.code === 0) return ended;
  throw new Error(`ringmaster ${args.join(" ")} ended with ${ended.code ?? ended.signal}:\n${ended.stderr}`);
}

/** Asserts how a command ended; what it said is shown if otherwise. */
export function checkCode(t: Test, { code, signal: by, stderr }: Ended, expected: number): void {
  t.equal(code, expected, `exit code ${expected}`, { signal: by, stderr });
}

/** An error is told in words, whatever it was. */
export function checkNoStackTrace(t: Test, { stdout, stderr }: Ended): void {
  t.notMatch(stdout + stderr, /^\s+at /m, "no stack trace");
}

function firstMatch(text: string, pattern: RegExp): RegExpExecArray | undefined {
  for (const line of text.split("\n")) {
    const match = pattern.exec(line);
    if (match) return match;
  }
  return undefined;
}

/** This process's environment without what tap, npm and a user's shell put in it for themselves. */
function plainEnvironment(): NodeJS.ProcessEnv {
  const dropped = /^(TAP|NODE_|npm_|NX_|RINGMASTER_TOKEN|FORCE_COLOR|NO_COLOR|CI$)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !dropped.test(name)));
}
