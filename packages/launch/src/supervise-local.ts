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

/** Runs a launch to its end. @returns the coordinator's exit code; 130 when it was ended by Ctrl-C; a worker's own when it could not even join. */
export async function superviseLocal(launch: LocalLaunch): Promise<number> {
  const supervisor = new LocalSupervisor(launch);
  const stop = (signal: NodeJS.Signals) => supervisor.stop(signal);
  // Before there are children: a Ctrl-C may come at any time.
  process.on("SIGINT", stop).on("SIGTERM", stop);
  try {
    return await supervisor.run();
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
    supervisor.killAll();
  }
}

class LocalSupervisor {
  readonly #launch: LocalLaunch;
  readonly #graceMs: number;
  readonly #countSignal = createSignalCount();
  readonly #workers: ChildProcess[] = [];
  readonly #timers: NodeJS.Timeout[] = [];
  #coordinator: ChildProcess | undefined;
  #stops = 0;
  /** The first exit code with which a worker ended before its coordinator. */
  #failure: number | undefined;

  constructor(launch: LocalLaunch) {
    this.#launch = launch;
    this.#graceMs = launch.graceMs ?? 5000;
  }

  async run(): Promise<number> {
    const coordinator = this.#start(this.#launch.coordinatorArgs, "inherit");
    this.#coordinator = coordinator;
    coordinator.on("message", (message: SupervisedMessage) => {
      if (message.type !== "listening") return;
      for (let index = 0; index < this.#launch.workers; index++) this.#startWorker(index, message);
    });
    const code = await exitOf(coordinator);
    if (coordinator.signalCode !== null && this.#stops === 0) {
      this.#launch.onNotice(
        `the coordinator was ended by ${coordinator.signalCode}; its run can be resumed from its last checkpoint`,
      );
    }
    // Most workers have heard; one that is still on its way to the coordinator has not.
    for (const worker of this.#workers) tell(worker, "the coordinator has ended");
    this.#later(this.#graceMs, () => this.killAll());
    await Promise.all(this.#workers.map(exitOf));
    for (const timer of this.#timers) clearTimeout(timer);
    if (this.#stops > 0) return code ?? 130;
    const isOurStop = code === 130 || code === null;
    return isOurStop ? (this.#failure ?? code ?? 1) : code;
  }

  /** The first signal stops the run in order, the second ends everything. */
  stop(signal: NodeJS.Signals): void {
    const times = this.#countSignal();
    if (times === 0) return;
    this.#stops = times;
    if (times > 1) {
      this.#launch.onNotice("ending at once; the last checkpoint on disk is the newest");
      return this.killAll();
    }
    tell(this.#coordinator, describeStop(signal));
    this.#later(this.#graceMs, () => {
      const seconds = this.#graceMs / 1000;
      this.#launch.onNotice(
        `the run did not stop within ${seconds} s and is ended; the last checkpoint on disk is the newest`,
      );
      this.killAll();
    });
  }

  killAll(): void {
    for (const child of [this.#coordinator, ...this.#workers]) if (child && isRunning(child)) child.kill("SIGKILL");
  }

  #start(args: readonly string[], output: "inherit" | "pipe"): ChildProcess {
    const [command, ...program] = this.#launch.program;
    return spawn(command, [...program, ...args], {
      stdio: ["ignore", output, output, "ipc"],
      env: { ...process.env, ...this.#launch.env },
    });
  }

  #startWorker(index: number, address: CoordinatorAddress): void {
    const { workerArgs, onOutput, onNotice } = this.#launch;
    const worker = this.#start(workerArgs(address, index), "pipe");
    this.#workers.push(worker);
    for (const stream of [worker.stdout, worker.stderr]) relayLines(stream, (line) => onOutput(index, line));
    worker.once("exit", (code) => this.#workerEnded(index, code));
    worker.once("error", (error) => onNotice(`worker ${index} could not be started: ${error.message}`));
  }

  /** A worker that dies while it trains is the coordinator's to notice; one that cannot even join is ours. One that ends after it says nothing. */
  #workerEnded(index: number, code: number | null): void {
    const isAfterwards = this.#coordinator !== undefined && !isRunning(this.#coordinator);
    if (code === 0 || this.#failure !== undefined || isAfterwards) return;
    this.#failure = code ?? 1;
    this.#later(noticeMs, () => {
      tell(this.#coordinator, `worker ${index} ended with ${code === null ? "a signal" : `exit code ${code}`}`);
      this.#later(this.#graceMs, () => this.killAll());
    });
  }

  #later(ms: number, action: () => void): void {
    this.#timers.push(setTimeout(action, ms));
  }
}

const isRunning = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null;

function tell(child: ChildProcess | undefined, reason: string): void {
  const message: SupervisorMessage = { type: "stop", reason };
  // One that is just ending does not hear it.
  if (child?.connected && isRunning(child)) child.send(message, () => {});
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => {
    if (!isRunning(child)) return resolve(child.exitCode);
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
