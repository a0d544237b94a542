/**
 * A run of real processes that may be harmed, in two forms: one whose every process was started by hand, where this harness is the operator who starts again
 * what died, and one under `ringmaster train`, which has an operator of its own.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type ControlProxy, proxyTo } from "./chaos-proxy.ts";
import { RunWatch } from "./chaos-watch.ts";
import { type Ended, type Launch, type Owner, start } from "./ringmaster.ts";

export interface ChaosWorld {
  /** Its folder. */
  readonly run: string;
  readonly watch: RunWatch;
  /** Undefined while there is none. */
  coordinator(): number | undefined;
  /** Those that live, in the order in which they were started. */
  workers(): readonly number[];
  /** Starts a worker more. */
  join(): Promise<void>;
  /** Starts what died again, where nobody else does. @throws Error when something ended by itself, with its words */
  mend(): Promise<void>;
  /** Cuts a worker's connection to the coordinator, where the world has a hand on it. @returns whether there was one */
  cutControl(worker: number): boolean;
  /** What Ctrl-C does, and how it all ended: the command that leads the run first. */
  stop(): Promise<readonly Ended[]>;
}

export interface ChaosOptions {
  readonly config: string;
  readonly runs: string;
  readonly name: string;
  /** With which the run begins. */
  readonly ranks: number;
  /** Of the run. */
  readonly args: readonly string[];
}

/** As long as any of these runs may take. */
const mostMs = 3_600_000;
const farewellMs = 30_000;

/** @param workers how many there are to be, spares among them */
export async function startWorldByHand(
  t: Owner,
  { config, runs, name, ranks, args }: ChaosOptions,
  workers: number,
): Promise<ChaosWorld> {
  const env = { RINGMASTER_TOKEN: randomBytes(16).toString("hex") };
  const run = join(runs, name);
  const watch = new RunWatch(run);
  const coordinate = (...more: string[]) =>
    new Tracked(start(t, ["coordinator", "--ranks", String(ranks), ...more], { env, mostMs }));
  let coordinator = coordinate(config, "--port", "0", "--runs", runs, "--name", name, ...args);
  const [, port = ""] = await coordinator.launch.line(/--join ws:\S+:(\d+)/);
  const mates: { readonly process: Tracked; readonly proxy: ControlProxy }[] = [];
  const living = () => mates.filter(({ process }) => process.isAlive);
  const add = async () => {
    const proxy = await proxyTo(t, Number(port));
    const process = start(t, ["worker", config, "--join", proxy.url, "--threads", "1"], { env, mostMs });
    mates.push({ process: new Tracked(process), proxy });
  };
  for (let index = 0; index < workers; index++) await add();
  return {
    run,
    watch,
    coordinator: () => (coordinator.isAlive ? coordinator.launch.pid : undefined),
    workers: () => living().map(({ process }) => process.launch.pid),
    join: add,
    async mend() {
      for (const { process } of mates) process.checkEnd();
      coordinator.checkEnd();
      if (!coordinator.isAlive) coordinator = coordinate("--recover", run, "--port", port);
      for (let missing = workers - living().length; missing > 0; missing--) await add();
    },
    cutControl: (pid) => (mates.find(({ process }) => process.launch.pid === pid)?.proxy.cut() ?? 0) > 0,
    async stop() {
      const present = [coordinator, ...living().map(({ process }) => process)];
      await haveJoined(watch, present.slice(1));
      coordinator.launch.interrupt();
      return Promise.all(present.map(({ launch }) => launch.goneWithin(farewellMs)));
    },
  };
}

/** `ringmaster train`; its token is its own, and is read where a worker has it. */
export async function startSupervisedWorld(
  t: Owner,
  { config, runs, name, ranks, args }: ChaosOptions,
): Promise<ChaosWorld> {
  const run = join(runs, name);
  const watch = new RunWatch(run);
  const main = new Tracked(
    start(t, ["train", config, "--ranks", String(ranks), "--threads", "1", "--runs", runs, "--name", name, ...args], {
      mostMs,
    }),
  );
  const guests: Tracked[] = [];
  const ofRole = (wanted: string) => main.launch.processes().filter(({ role }) => role === wanted);
  return {
    run,
    watch,
    coordinator: () => ofRole("coordinator")[0]?.pid,
    workers: () => [
      ...ofRole("worker").map(({ pid }) => pid),
      ...guests.filter((guest) => guest.isAlive).map(({ launch }) => launch.pid),
    ],
    async join() {
      const { pid, command } = await main.launch.until("a worker", () => ofRole("worker")[0]);
      const url = command[command.indexOf("--join") + 1] ?? "";
      const environment = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
      const token = environment.find((each) => each.startsWith("RINGMASTER_TOKEN="))?.split("=")[1] ?? "";
      const env = { RINGMASTER_TOKEN: token };
      guests.push(new Tracked(start(t, ["worker", config, "--join", url, "--threads", "1"], { env, mostMs })));
    },
    async mend() {
      for (const guest of guests) guest.checkEnd();
      if (!main.isAlive) throw new Error(`the run has ended: ${main.launch.stderr()}`);
    },
    cutControl: () => false,
    async stop() {
      const present = [main, ...guests.filter((guest) => guest.isAlive)];
      await haveJoined(watch, present.slice(1));
      main.launch.interrupt();
      return Promise.all(present.map(({ launch }) => launch.goneWithin(farewellMs)));
    },
  };
}

/** One that has not, when the run ends, would wait for it in vain. */
async function haveJoined(watch: RunWatch, workers: readonly Tracked[]): Promise<void> {
  for (const { launch } of workers) {
    const joined = new RegExp(`joined: .*\\(pid ${launch.pid}\\)`);
    await launch.until("its joining", () => watch.events().some(({ message }) => joined.test(message)));
  }
}

/** A command that may be killed, and must not end otherwise but for one reason: that it was asked to leave. */
class Tracked {
  readonly launch: Launch;
  #end: Ended | undefined;

  constructor(launch: Launch) {
    this.launch = launch;
    launch.ended.then(
      (end) => {
        this.#end = end;
      },
      () => {},
    );
  }

  get isAlive(): boolean {
    return this.#end === undefined;
  }

  checkEnd(): void {
    if (this.#end === undefined || this.#end.signal !== null || leftCodes.includes(this.#end.code)) return;
    throw new Error(`pid ${this.launch.pid} ended by itself with ${this.#end.code}: ${this.#end.stderr}`);
  }
}

/** The second: it was asked before it had joined. */
const leftCodes: readonly (number | null)[] = [143, 130];
