/**
 * The local launcher: one coordinator and N workers as child processes of this one.
 *
 * Ctrl-C reaches the whole process group, so the children ignore SIGINT and the supervisor alone decides: the first asks the coordinator to stop the run
 * after the step under way, the second ends everything at once. A child ends by itself when its channel to the supervisor closes, so none outlives it,
 * however it dies.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createSignalCount, describeStop } from "./signals.ts";
import type { SupervisedMessage, SupervisorMessage } from "./supervised-channel.ts";

export interface LocalLaunch {
  /** The program that runs a role, e.g. [process.execPath, cli.js]. */
  readonly program: readonly [string, ...string[]];
  readonly coordinatorArgs: readonly string[];
  /** Arguments of worker `index`, once the coordinator listens. */
  readonly workerArgs: (coordinator: CoordinatorAddress, index: number) => readonly string[];
  readonly workers: number;
  /** For the children, over this process's environment: secrets do not go on a command line, where other users see them. */
  readonly env: Readonly<Record<string, string>>;
  /** A line that a worker wrote outside its log file. */
  readonly onOutput: (worker: number, line: string) => void;
  readonly onNotice: (line: string) => void;
  /** How long after a stop, or after the coordinator's end, children may take before they are killed. Default 5,000. */
  readonly graceMs?: number;
}

export interface CoordinatorAddress {
  readonly url: string;
  readonly logFile: string;
}

/** How long the coordinator may take to notice the end of a worker. */
const noticeMs = 2000;

/** Runs a launch to its end. @returns the coordinator's exit code; 130 when it was ended by a second Ctrl-C. */
export async function superviseLocal(launch: LocalLaunch): Promise<number> {
  const { graceMs = 5000 } = launch;
  const children: ChildProcess[] = [];
  let stops = 0;
  let stopTimer: NodeJS.Timeout | undefined;

  const [command, ...program] = launch.program;
  const start = (args: readonly string[], stdout: "inherit" | "pipe"): ChildProcess => {
    const child = spawn(command, [...program, ...args], {
      stdio: ["ignore", stdout, stdout, "ipc"],
      env: { ...process.env, ...launch.env },
    });
    children.push(child);
    return child;
  };
  const isRunning = (child: ChildProcess) => child.exitCode === null && child.signalCode === null;
  const killAll = () => {
    for (const child of children) if (isRunning(child)) child.kill("SIGKILL");
  };

  const coordinator = start(launch.coordinatorArgs, "inherit");
  const coordinatorExit = exitOf(coordinator);
  coordinator.on("message", (message: SupervisedMessage) => {
    if (message.type !== "listening") return;
    for (let index = 0; index < launch.workers; index++) startWorker(index, message);
  });
  // A worker that dies while it trains is the coordinator's to notice; one that cannot even join is ours.
  let failure: number | undefined;
  const onWorkerExit = (index: number, code: number | null) => {
    if (code === 0 || failure !== undefined) return;
    failure = code ?? 1;
    setTimeout(() => {
      if (!isRunning(coordinator)) return;
      const message: SupervisorMessage = {
        type: "stop",
        reason: `worker ${index} ended with ${code === null ? "a signal" : `exit code ${code}`}`,
      };
      if (coordinator.connected) coordinator.send(message);
      setTimeout(killAll, graceMs).unref();
    }, noticeMs).unref();
  };
  const startWorker = (index: number, address: CoordinatorAddress) => {
    const worker = start(launch.workerArgs(address, index), "pipe");
    for (const stream of [worker.stdout, worker.stderr]) relayLines(stream, (line) => launch.onOutput(index, line));
    worker.once("exit", (code) => onWorkerExit(index, code));
    worker.once("error", (error) => launch.onNotice(`worker ${index} could not be started: ${error.message}`));
  };

  const count = createSignalCount();
  const stop = (signal: NodeJS.Signals) => {
    const times = count();
    if (times === 0) return;
    stops = times;
    if (stops > 1) {
      launch.onNotice("ending at once; the last checkpoint on disk is the newest");
      return killAll();
    }
    const message: SupervisorMessage = { type: "stop", reason: describeStop(signal) };
    if (coordinator.connected) coordinator.send(message);
    stopTimer = setTimeout(() => {
      launch.onNotice(
        `the run did not stop within ${graceMs / 1000} s and is ended; the last checkpoint on disk is the newest`,
      );
      killAll();
    }, graceMs);
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  try {
    const code = await coordinatorExit;
    // Workers end with the coordinator, by themselves.
    const patience = setTimeout(killAll, graceMs);
    await Promise.all(children.filter(isRunning).map(exitOf));
    clearTimeout(patience);
    if (stops === 0 && failure !== undefined && code !== 0) return code === 130 || code === null ? failure : code;
    return code ?? (stops > 0 ? 130 : 1);
  } finally {
    clearTimeout(stopTimer);
    process.off("SIGINT", stop);
    process.off("SIGTERM", stop);
    killAll();
  }
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve(child.exitCode);
    child.once("exit", (code) => resolve(code));
    child.once("error", () => resolve(1));
  });
}

function relayLines(stream: NodeJS.ReadableStream | null, onLine: (line: string) => void): void {
  let pending = "";
  stream?.on("data", (data: Buffer) => {
    const lines = (pending + data.toString()).split("\n");
    pending = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") onLine(line);
  });
}
