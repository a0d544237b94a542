/**
 * A process on a simulated machine. One that is paused (SIGSTOP, a machine without a free core) does nothing, and finds on waking first its overdue timers, then
 * what came in meanwhile: the order of Node's event loop. One that is dead does nothing any more.
 */
import type { Millis } from "@ringmaster/protocol";
import type { VirtualTime } from "./virtual-time.ts";

export class Process {
  readonly name: string;
  /** The machine that it runs on. */
  readonly machine: number;
  readonly #time: VirtualTime;
  #state: "running" | "paused" | "dead" = "running";
  #pausedMs: Millis | undefined;
  #timersDue: (() => void)[] = [];
  #inputs: (() => void)[] = [];
  readonly #onDeath: ((isKilled: boolean) => void)[] = [];
  readonly #onPause: (() => void)[] = [];

  constructor(time: VirtualTime, name: string, machine: number) {
    this.#time = time;
    this.name = name;
    this.machine = machine;
  }

  get isAlive(): boolean {
    return this.#state !== "dead";
  }

  get isRunning(): boolean {
    return this.#state === "running";
  }

  /** Since when it is paused. */
  get pausedMs(): Millis | undefined {
    return this.#pausedMs;
  }

  /** Something from outside reaches it. */
  receive(input: () => void): void {
    if (this.#state === "running") input();
    else if (this.#state === "paused") this.#inputs.push(input);
  }

  after(delayMs: Millis, run: () => void): void {
    this.#time.after(delayMs, () => this.#timer(run));
  }

  every(periodMs: Millis, run: () => void): void {
    const beat = () => {
      run();
      if (this.isAlive) this.after(periodMs, beat);
    };
    this.after(periodMs, beat);
  }

  onDeath(heard: (isKilled: boolean) => void): void {
    this.#onDeath.push(heard);
  }

  onPause(heard: () => void): void {
    this.#onPause.push(heard);
  }

  pause(): void {
    if (this.#state !== "running") return;
    this.#state = "paused";
    this.#pausedMs = this.#time.nowMs;
    for (const heard of this.#onPause) heard();
  }

  wake(): void {
    if (this.#state !== "paused") return;
    this.#state = "running";
    this.#pausedMs = undefined;
    const due = [...this.#timersDue.splice(0), ...this.#inputs.splice(0)];
    for (const run of due) this.receive(run);
  }

  /** kill -9. */
  kill(): void {
    this.#end(true);
  }

  /** Ends by itself, in order. */
  exit(): void {
    this.#end(false);
  }

  #end(isKilled: boolean): void {
    if (this.#state === "dead") return;
    this.#state = "dead";
    this.#timersDue = [];
    this.#inputs = [];
    for (const heard of this.#onDeath) heard(isKilled);
  }

  #timer(run: () => void): void {
    if (this.#state === "running") run();
    else if (this.#state === "paused") this.#timersDue.push(run);
  }
}
