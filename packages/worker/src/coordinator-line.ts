/** A worker's line to its coordinator: one connection after another, heartbeats over each, and the judgement when one is dead. What is said is not its business. */
import { type ControlLink, TransportError } from "@ringmaster/transport";

interface LineOptions {
  /** Connects once, or for as long as the caller likes. Called again after every loss. */
  readonly connect: (signal: AbortSignal) => Promise<ControlLink>;
  /** How long there may be no coordinator. */
  readonly patienceMs: number;
  readonly events: LineEvents;
}

interface LineEvents {
  up(link: ControlLink): void;
  message(bytes: Uint8Array): void;
  down(reason: string): void;
  /** There was no first connection, and will be none. */
  refused(error: unknown): void;
  /** There will be no other connection. */
  over(message: string): void;
  heartbeat(): Uint8Array;
}

/** How a worker keeps its line, in ms; the simulation's workers keep theirs so. */
export const lineTiming = {
  heartbeatMs: 250,
  /** A coordinator that says nothing for so long is gone, or stands still: the next connection may reach another. */
  silenceMs: 5000,
  /** A beat that is so late says that this process stood still itself: what came meanwhile waits to be read. */
  lateMs: 1000,
  firstDelayMs: 200,
  longestDelayMs: 1000,
  /** Without a coordinator; by default. */
  patienceMs: 600_000,
} as const;

const { heartbeatMs, silenceMs, lateMs, firstDelayMs, longestDelayMs } = lineTiming;

export class CoordinatorLine {
  readonly #options: LineOptions;
  readonly #closing = new AbortController();
  #link: ControlLink | undefined;
  #heardMs = 0;
  #beatMs = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  /** Since when there has been no coordinator; undefined: there is one. */
  #awaySinceMs: number | undefined;
  #delayMs = 0;
  #lastLoss = "";

  constructor(options: LineOptions) {
    this.#options = options;
  }

  get link(): ControlLink | undefined {
    return this.#link;
  }

  start(): void {
    this.#timer = setInterval(() => this.#beat(), heartbeatMs);
    this.#dial(this.#closing.signal).catch((error: unknown) => {
      if (!this.#closing.signal.aborted) this.#options.events.refused(error);
    });
  }

  send(bytes: Uint8Array): void {
    this.#link?.send(bytes);
  }

  /** The coordinator at the other end is the run's; until it has shown that, the wait for one goes on. */
  welcomed(): void {
    if (!this.#link) return;
    this.#awaySinceMs = undefined;
    this.#delayMs = 0;
  }

  /** Ends the connection and looks for another. */
  hangUp(reason: string): void {
    const link = this.#link;
    if (!link) return;
    this.#lost(link, reason);
    link.close(reason);
  }

  close(reason: string): void {
    clearInterval(this.#timer);
    clearTimeout(this.#retry);
    this.#closing.abort();
    const link = this.#link;
    this.#link = undefined;
    link?.close(reason);
  }

  async #dial(signal: AbortSignal): Promise<void> {
    const link = await this.#options.connect(signal);
    if (this.#closing.signal.aborted) return link.close("the worker has ended");
    link.listen({
      message: (bytes) => this.#heard(link, bytes),
      closed: (reason) => this.#lost(link, reason || "the coordinator's connection is lost"),
    });
    this.#link = link;
    this.#heardMs = performance.now();
    this.#options.events.up(link);
  }

  #heard(link: ControlLink, bytes: Uint8Array): void {
    if (this.#link !== link) return;
    this.#heardMs = performance.now();
    this.#options.events.message(bytes);
  }

  #lost(link: ControlLink, reason: string): void {
    if (this.#link !== link) return;
    this.#link = undefined;
    this.#lastLoss = reason;
    this.#awaySinceMs ??= performance.now();
    this.#options.events.down(reason);
    this.#redialLater();
  }

  #redialLater(): void {
    if (this.#closing.signal.aborted) return;
    const delayMs = this.#delayMs;
    this.#delayMs = Math.min(longestDelayMs, Math.max(firstDelayMs, 1.5 * delayMs));
    this.#retry = setTimeout(() => void this.#redial(), delayMs);
  }

  async #redial(): Promise<void> {
    const { patienceMs, events } = this.#options;
    const leftMs = () => patienceMs - (performance.now() - (this.#awaySinceMs ?? performance.now()));
    const over = (why: string) => events.over(`${this.#lastLoss}; ${why}`);
    const isOver = `without a coordinator for ${Math.round(patienceMs / 1000)} s`;
    if (leftMs() <= 0) return over(isOver);
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(Math.ceil(leftMs()))]);
    try {
      await this.#dial(signal);
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      if (isPassing(error)) return leftMs() > 0 ? this.#redialLater() : over(isOver);
      over(error instanceof Error ? error.message : String(error));
    }
  }

  #beat(): void {
    const nowMs = performance.now();
    const isLate = nowMs - this.#beatMs > lateMs;
    this.#beatMs = nowMs;
    this.send(this.#options.events.heartbeat());
    if (isLate) this.#heardMs = nowMs;
    const silentMs = Math.round(nowMs - this.#heardMs);
    if (silentMs > silenceMs) this.hangUp(`the coordinator has said nothing for ${silentMs} ms`);
  }
}

/** Whether the next try may succeed: what answers with a refusal will not. */
function isPassing(error: unknown): boolean {
  if (error instanceof TransportError) return error.code === "COORDINATOR_UNREACHABLE";
  return error instanceof Error && (error.name === "AbortError" || error.name === "TimeoutError");
}
