/** The workers that the coordinator knows: who they are, how they are reached, and when they were heard. */
import type { CoordinatorMessage, Millis, WorkerHello, WorkerReady } from "@ringmaster/protocol";
import type { Connection, CoordinatorEffect } from "./coordinator-io.ts";

export interface KnownWorker {
  readonly id: string;
  hello: WorkerHello;
  /** undefined while it prepares. */
  ready: WorkerReady | undefined;
  /** undefined while its connection is lost. */
  connection: Connection | undefined;
  heardMs: Millis;
  awayMs: Millis | undefined;
  busyMs: Millis;
  /** What it said of its end. */
  bye: string | undefined;
  /** Its links failed, and it is not taken in yet. */
  isLeftOut: boolean;
}

export class KnownWorkers {
  /** In the order in which they joined. */
  readonly #byId = new Map<string, KnownWorker>();
  readonly #byConnection = new Map<Connection, KnownWorker>();

  all(): KnownWorker[] {
    return [...this.#byId.values()];
  }

  connected(): KnownWorker[] {
    return this.all().filter(({ connection }) => connection !== undefined);
  }

  on(connection: Connection): KnownWorker | undefined {
    return this.#byConnection.get(connection);
  }

  find(id: string): KnownWorker | undefined {
    return this.#byId.get(id);
  }

  hellosOf(ids: readonly string[]): WorkerHello[] {
    return ids.flatMap((id) => this.#byId.get(id)?.hello ?? []);
  }

  /** Nothing, where it has no connection: what matters it is told when it is back. */
  tell(id: string, message: CoordinatorMessage): CoordinatorEffect[] {
    const connection = this.find(id)?.connection;
    return connection === undefined ? [] : [{ type: "send", connection, message }];
  }

  /** @returns the worker, and the connection that it had before, which it has left. */
  greet(
    connection: Connection,
    hello: WorkerHello,
    now: Millis,
  ): { worker: KnownWorker; left: Connection | undefined } {
    const known = this.#byId.get(hello.workerId);
    const left = known?.connection;
    if (left !== undefined) this.#byConnection.delete(left);
    // What it prepared it says again, once.
    const fresh = { hello, ready: undefined, connection, heardMs: now, awayMs: undefined, busyMs: 0, isLeftOut: false };
    const worker: KnownWorker = known ? Object.assign(known, fresh) : { id: hello.workerId, bye: undefined, ...fresh };
    this.#byId.set(worker.id, worker);
    this.#byConnection.set(connection, worker);
    return { worker, left };
  }

  disconnect(worker: KnownWorker, now: Millis): void {
    if (worker.connection !== undefined) this.#byConnection.delete(worker.connection);
    worker.connection = undefined;
    worker.awayMs = now;
  }

  forget(worker: KnownWorker): void {
    if (worker.connection !== undefined) this.#byConnection.delete(worker.connection);
    this.#byId.delete(worker.id);
  }
}

export const placeOf = ({ hello }: KnownWorker): string => `${hello.host} (pid ${hello.pid})`;
