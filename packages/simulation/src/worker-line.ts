/** A simulated worker's line to its coordinator: one connection after another, as packages/worker's coordinator-line.ts keeps it. */
import type { Millis } from "@ringmaster/protocol";
import { lineTiming } from "@ringmaster/worker";
import { type ControlTraffic, controlBytes, coordinatorAddress } from "./messages.ts";
import type { End, Network } from "./network.ts";
import type { Process } from "./process.ts";
import type { VirtualTime } from "./virtual-time.ts";

export interface WorkerLineOptions {
  readonly process: Process;
  readonly time: VirtualTime;
  readonly network: Network;
  readonly beats: boolean;
  readonly busyMs: () => Millis;
  readonly up: () => void;
  readonly heard: (message: ControlTraffic) => void;
  readonly down: (reason: string) => void;
  /** There was no coordinator for too long. */
  readonly over: (message: string) => void;
}

const { heartbeatMs, silenceMs, lateMs, firstDelayMs, longestDelayMs, patienceMs } = lineTiming;
const dialTimeoutMs = 5000;

export class WorkerLine {
  readonly #options: WorkerLineOptions;
  #end: End<ControlTraffic> | undefined;
  #heardMs = 0;
  #beatMs = 0;
  #awaySinceMs: Millis | undefined;
  #delayMs = 0;
  #isClosed = false;

  constructor(options: WorkerLineOptions) {
    this.#options = options;
    const { process, time } = options;
    this.#beatMs = time.nowMs;
    process.every(heartbeatMs, () => this.#beat());
    this.#dial();
  }

  get end(): End<ControlTraffic> | undefined {
    return this.#end;
  }

  send(message: ControlTraffic): void {
    this.#end?.send(message, controlBytes);
  }

  hangUp(reason: string): void {
    const end = this.#end;
    if (!end) return;
    this.#lost(end, reason);
    end.close(reason);
  }

  close(reason: string): void {
    this.#isClosed = true;
    const end = this.#end;
    this.#end = undefined;
    end?.close(reason);
  }

  /** For heartbeats without messages. */
  hearBeat(): void {
    this.#heardMs = this.#options.time.nowMs;
  }

  #dial(): void {
    const { network, process, time } = this.#options;
    this.#awaySinceMs ??= time.nowMs;
    const dial = {
      from: process,
      address: coordinatorAddress,
      request: "worker",
      timeoutMs: dialTimeoutMs,
      keepAliveMs: null,
    };
    network.dial<string, ControlTraffic>(dial, (end) => {
      if (this.#isClosed) return end?.close("the worker has ended");
      if (!end) return this.#redialLater();
      end.listen({
        message: (message) => this.#heard(end, message),
        closed: (reason) => this.#lost(end, reason),
      });
      this.#end = end;
      this.#heardMs = time.nowMs;
      this.#options.up();
    });
  }

  #heard(end: End<ControlTraffic>, message: ControlTraffic): void {
    if (this.#end !== end) return;
    this.#heardMs = this.#options.time.nowMs;
    this.#options.heard(message);
    if (this.#end !== end) return;
    this.#awaySinceMs = undefined;
    this.#delayMs = 0;
  }

  #lost(end: End<ControlTraffic>, reason: string): void {
    if (this.#end !== end) return;
    this.#end = undefined;
    this.#awaySinceMs ??= this.#options.time.nowMs;
    this.#options.down(reason);
    this.#redialLater();
  }

  #redialLater(): void {
    const { process, time, over } = this.#options;
    if (this.#isClosed) return;
    const awayMs = time.nowMs - (this.#awaySinceMs ?? time.nowMs);
    if (awayMs > patienceMs) return over("no coordinator answered");
    const delayMs = this.#delayMs;
    this.#delayMs = Math.min(longestDelayMs, Math.max(firstDelayMs, 1.5 * delayMs));
    process.after(delayMs, () => this.#dial());
  }

  #beat(): void {
    if (this.#isClosed) return;
    const { nowMs } = this.#options.time;
    const isLate = nowMs - this.#beatMs > lateMs;
    this.#beatMs = nowMs;
    if (this.#options.beats)
      this.#end?.send({ type: "WorkerHeartbeat", sentAtMs: nowMs, busyMs: this.#options.busyMs() }, 30);
    if (isLate) this.#heardMs = nowMs;
    if (nowMs - this.#heardMs > silenceMs) this.hangUp("the coordinator has said nothing for too long");
  }
}
