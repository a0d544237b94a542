/** How far the compute threads are with the commands that they were given: each works them off one after another and says when it is through with one. */
export class CommandsUnderWay {
  #given = 0;
  /** Of each thread. */
  readonly #done: number[];
  #sinceMs = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(threads: number) {
    this.#done = new Array<number>(threads).fill(0);
  }

  get isIdle(): boolean {
    return this.#finished >= this.#given;
  }

  /** A command is given to all threads; its number. */
  begin(nowMs: number): number {
    if (this.isIdle) this.#sinceMs = nowMs;
    return ++this.#given;
  }

  /** A thread is through with its next command. */
  done(thread: number, nowMs: number): void {
    this.#set(thread, (this.#done[thread] ?? 0) + 1, nowMs);
  }

  /** A thread has ended. */
  ended(thread: number, nowMs: number): void {
    this.#set(thread, Number.POSITIVE_INFINITY, nowMs);
  }

  /** How long the oldest command that is not done has been worked. */
  busyMs(nowMs: number): number {
    return this.isIdle ? 0 : nowMs - this.#sinceMs;
  }

  whenIdle(): Promise<void> {
    return this.isIdle ? Promise.resolve() : new Promise((resolve) => this.#waiting.push(resolve));
  }

  get #finished(): number {
    return Math.min(...this.#done);
  }

  #set(thread: number, done: number, nowMs: number): void {
    const before = this.#finished;
    this.#done[thread] = done;
    if (this.#finished > before) this.#sinceMs = nowMs;
    if (this.isIdle) for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
