/**
 * The local launcher: one coordinator and N workers as child processes of this one, kept alive until the run ends.
 *
 * A process that dies is started again (restarts.ts says when): a worker joins the run anew, a coordinator takes its journal and its address up again, at
 * which its workers redial it. The run ends with the coordinator's own exit, with a stop, or when no worker is left; from then on nothing is restarted.
 *
 * Ctrl-C reaches the whole process group, so the children ignore SIGINT and the supervisor alone decides: the first asks the coordinator to stop the run
 * after the step under way, the second ends everything at once. A child ends by itself when its channel to the supervisor closes, so none outlives it,
 * however it dies.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Child, describeEnd } from "./child.ts";
import {
  coordinatorLimits,
  countDeath,
  type Deaths,
  defaultDelayMs,
  judgeCoordinatorEnd,
  judgeDeaths,
  judgeWorkerEnd,
  noDeaths,
  type RestartLimits,
  type WorkerEndKind,
  workerLimits,
} from "./restarts.ts";
import { createSignalCount, describeStop } from "./signals.ts";
import type { SupervisedMessage } from "./supervised-channel.ts";

export interface LocalLaunch {
  /** The program that runs a role, e.g. [process.execPath, cli.js]. */
  readonly program: readonly [string, ...string[]];
  /** After a death with the address that the coordinator must listen on again, to go on from its journal. */
  readonly coordinatorArgs: (recovering: CoordinatorAddress | undefined) => readonly string[];
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
  /** The wait before the second restart in a row; it doubles up to twenty times this. Default 500. */
  readonly restartDelayMs?: number;
}

export interface CoordinatorAddress {
  readonly url: string;
  readonly logFile: string;
}

/** How long the coordinator may take to notice the end of a worker, or to end after its workers, who heard of the run's end first. */
const noticeMs = 2000;
const onDisk = "the last checkpoint on disk is the newest";
const resumable = "its run can be resumed from its last checkpoint";

/** Runs a launch to its end. @returns the coordinator's exit code; 130 when it was ended by Ctrl-C; a worker's own when no worker can join or stay. */
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
  /** Aborted when the launch ends, for whatever reason: nothing is started from then on. */
  readonly #ending = new AbortController();
  readonly #workers = new Set<Child>();
  readonly #keepers: Promise<void>[] = [];
  readonly #gone: { readonly kind: WorkerEndKind; readonly code: number }[] = [];
  readonly #timers: NodeJS.Timeout[] = [];
  #coordinator: Child | undefined;
  #address: CoordinatorAddress | undefined;
  #stops = 0;
  /** The exit code of the worker for whose sake the launch ends. */
  #failure: number | undefined;

  constructor(launch: LocalLaunch) {
    this.#launch = launch;
    this.#graceMs = launch.graceMs ?? 5000;
  }

  async run(): Promise<number> {
    const code = await this.#keepCoordinator();
    this.#ending.abort();
    // Most workers have heard; one that is still on its way to the coordinator has not.
    for (const worker of this.#workers) worker.stop("the coordinator has ended");
    this.#later(this.#graceMs, () => this.killAll());
    await Promise.all(this.#keepers);
    for (const timer of this.#timers) clearTimeout(timer);
    if (this.#stops > 0) return code ?? 130;
    const isOurStop = code === 130 || code === null;
    return isOurStop ? (this.#failure ?? code ?? 1) : code;
  }

  /** The first signal stops the run in order, the second ends everything; so does the first where no coordinator could hear it. */
  stop(signal: NodeJS.Signals): void {
    const times = this.#countSignal();
    if (times === 0) return;
    this.#stops = times;
    this.#ending.abort();
    if (times > 1 || !this.#coordinator?.isRunning) {
      this.#launch.onNotice(`ending at once; ${onDisk}`);
      return this.killAll();
    }
    this.#coordinator.stop(describeStop(signal));
    this.#later(this.#graceMs, () => {
      this.#launch.onNotice(`the run did not stop within ${this.#graceMs / 1000} s and is ended; ${onDisk}`);
      this.killAll();
    });
  }

  killAll(): void {
    this.#ending.abort();
    this.#coordinator?.kill();
    for (const worker of this.#workers) worker.kill();
  }

  /** @returns the exit code with which the run ended; null where the coordinator died. */
  async #keepCoordinator(): Promise<number | null> {
    const { coordinatorArgs, workers, onNotice } = this.#launch;
    let deaths = noDeaths;
    for (let isFirst = true; ; isFirst = false) {
      let readyMs: number | undefined;
      const child = this.#start("the coordinator", coordinatorArgs(this.#address), (message) => {
        if (message.type !== "listening") return;
        readyMs = performance.now();
        this.#address = { url: message.url, logFile: message.logFile };
        if (!isFirst) return onNotice(`the coordinator is back as pid ${child.pid}`);
        if (this.#isEnding) return;
        for (let index = 0; index < workers; index++) this.#keepers.push(this.#keepWorker(index, message));
      });
      this.#coordinator = child;
      const end = await child.ended;
      const kind = judgeCoordinatorEnd(end, { isFirst, wasReady: readyMs !== undefined });
      if (kind === "over" || this.#isEnding) {
        if (end.signal !== null && this.#stops === 0) onNotice(`the coordinator ${describeEnd(end)}; ${resumable}`);
        return kind === "over" ? end.code : null;
      }
      deaths = countDeath(deaths, performance.now(), readyMs);
      const what = `${named("the coordinator", child)} ${describeEnd(end)}`;
      const again = `starting it again on port ${new URL(this.#address?.url ?? "").port}`;
      const otherwise = `${resumable}; see ${this.#address?.logFile}`;
      if (!(await this.#mayRestart(deaths, coordinatorLimits, { what, again, otherwise }))) return null;
    }
  }

  /** @param first where the coordinator listened when the worker was first started */
  async #keepWorker(index: number, first: CoordinatorAddress): Promise<void> {
    const { workerArgs, onNotice, onOutput } = this.#launch;
    const name = `worker ${index}`;
    let deaths = noDeaths;
    for (let isFirst = true; ; isFirst = false) {
      const address = this.#address ?? first;
      let readyMs: number | undefined;
      const onMessage = (message: SupervisedMessage) => {
        if (message.type !== "joined") return;
        readyMs = performance.now();
        if (!isFirst) onNotice(`${name} is back as pid ${child.pid}`);
      };
      const child = this.#start(name, workerArgs(address, index), onMessage, (line) => onOutput(index, line));
      this.#workers.add(child);
      const end = await child.ended;
      this.#workers.delete(child);
      const diedMs = performance.now();
      const kind = judgeWorkerEnd(end, { isFirst, wasReady: readyMs !== undefined });
      if (kind === "unfit") return this.#fail(end.code ?? 1, `${name} ${describeEnd(end)}`);
      // One that ends by itself may have heard of the run's end: the coordinator's own is then about to be seen.
      if (end.code !== null && kind !== "left") await this.#pause(noticeMs);
      if (this.#isEnding) return;
      const what = `${named(name, child)} ${describeEnd(end)}`;
      if (kind === "died") {
        deaths = countDeath(deaths, diedMs, readyMs);
        const otherwise = `the run goes on without it; see ${address.logFile}`;
        if (await this.#mayRestart(deaths, workerLimits, { what, again: "starting it again", otherwise })) continue;
      } else if (kind === "spoiled") onNotice(`${what} and is not started again; see ${address.logFile}`);
      else onNotice(`${name} has left`);
      return this.#workerIsGone(kind, end.code ?? 1);
    }
  }

  /** Says what follows from a death, and waits for as long as that takes. @returns whether to start again. */
  async #mayRestart(
    deaths: Deaths,
    limits: RestartLimits,
    { what, again, otherwise }: { readonly what: string; readonly again: string; readonly otherwise: string },
  ): Promise<boolean> {
    const { onNotice, restartDelayMs = defaultDelayMs } = this.#launch;
    const next = judgeDeaths(deaths, limits, restartDelayMs);
    if (next.verdict === "giveUp") {
      onNotice(`${what} and is given up: ${next.reason}; ${otherwise}`);
      return false;
    }
    onNotice(`${what}; ${again}${next.afterMs === 0 ? "" : ` in ${next.afterMs / 1000} s`}`);
    if (next.afterMs > 0) await this.#pause(next.afterMs);
    return !this.#isEnding;
  }

  /** Without workers a run stands still, unless they say that it is over. */
  #workerIsGone(kind: WorkerEndKind, code: number): void {
    if (this.#isEnding) return;
    this.#gone.push({ kind, code });
    if (this.#gone.length < this.#launch.workers || this.#gone.some(({ kind }) => kind === "over")) return;
    const failed = this.#gone.findLast(({ kind }) => kind !== "left");
    this.#launch.onNotice("no worker is left: the run is stopped");
    this.#fail(failed?.code ?? 130, "no worker is left");
  }

  /** A worker that dies while it trains is the coordinator's to notice; one that cannot even join is ours, and so is the last that goes. */
  #fail(code: number, reason: string): void {
    if (this.#isEnding) return;
    this.#failure = code;
    this.#ending.abort();
    this.#later(noticeMs, () => {
      this.#coordinator?.stop(reason);
      this.#later(this.#graceMs, () => this.killAll());
    });
  }

  #start(
    name: string,
    args: readonly string[],
    onMessage: (message: SupervisedMessage) => void,
    onOutput?: (line: string) => void,
  ): Child {
    const { program, env, onNotice } = this.#launch;
    const [command, ...before] = program;
    return new Child({
      command,
      args: [...before, ...args],
      env: { ...process.env, ...env },
      onMessage,
      ...(onOutput ? { onOutput } : {}),
      onError: (error) => onNotice(`${name}: ${error.message}`),
    });
  }

  get #isEnding(): boolean {
    return this.#ending.signal.aborted;
  }

  /** Cut short when the launch ends. */
  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#ending.signal }).catch(() => {});
  }

  #later(ms: number, action: () => void): void {
    this.#timers.push(setTimeout(action, ms));
  }
}

const named = (name: string, { pid }: Child): string => (pid === undefined ? name : `${name} (pid ${pid})`);
