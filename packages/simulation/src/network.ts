/**
 * A simulated network: machines, addresses, and connections that behave like TCP's.
 *
 * What is sent arrives in order or not at all. Each direction of a connection sends one message after another at its bandwidth; what has left arrives a latency
 * later. Where two machines cannot reach each other, what was sent waits for the day that they can, as TCP's retransmissions do, and nobody is told: an end finds
 * out by its keep-alive, or by itself. A process that dies closes its connections; the other ends hear of it, if they can. A connection that is broken (a
 * middlebox forgot it) delivers nothing more, and its ends hear of that at different times.
 */
import type { Millis } from "@ringmaster/protocol";
import type { Process } from "./process.ts";
import type { Random } from "./random.ts";
import type { VirtualTime } from "./virtual-time.ts";

export interface LinkSpeed {
  readonly latencyMs: Millis;
  readonly bytesPerMs: number;
  /** Messages take up to this part longer than the latency says. */
  readonly jitter: number;
}

export interface EndHandlers<Message> {
  message(message: Message): void;
  closed(reason: string): void;
}

/** One end of a connection. */
export interface End<Message> {
  readonly isOpen: boolean;
  listen(handlers: EndHandlers<Message>): void;
  send(message: Message, bytes: number): void;
  /** What it carries is read in the moment in which it leaves. */
  sendView(read: () => Message, bytes: number): void;
  /** Beside what else is sent: it is cut into parts, and other messages go between them. `left` is called when all of it has left, or never will. */
  sendBulk(read: () => Message, bytes: number, left?: () => void): void;
  close(reason: string): void;
  /** Closes once all that was sent has left. */
  finish(reason: string): void;
}

export interface DialIn<Message> {
  accept(): End<Message>;
  refuse(): void;
}

/** @param dialIn is to be accepted or refused, at any time */
export type Listener<Request, Message> = (request: Request, dialIn: DialIn<Message>) => void;

export interface Dial<Request> {
  readonly from: Process;
  readonly address: string;
  readonly request: Request;
  readonly timeoutMs: Millis;
  /** When an end counts the other one as lost of which it hears nothing at all; null: it does not watch. */
  readonly keepAliveMs: Millis | null;
}

interface Side {
  readonly process: Process;
  handlers: EndHandlers<unknown> | undefined;
  isOpen: boolean;
  /** When its direction has sent all that it was given, and when the last of it arrives. */
  freeMs: Millis;
  lastMs: Millis;
  bulkFreeMs: Millis;
}

interface Connection {
  readonly sides: readonly [Side, Side];
  readonly keepAliveMs: Millis | null;
  isBroken: boolean;
  /** What arrives once the machines reach each other again. */
  held: (() => void)[];
}

const deadPeer = "the peer's process is gone";

export class Network {
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #speed: LinkSpeed;
  readonly #listeners = new Map<string, { readonly process: Process; readonly heard: Listener<unknown, unknown> }>();
  readonly #connections = new Map<Process, Set<Connection>>();
  /** [pair of machines]: since when they cannot reach each other. */
  readonly #blocked = new Map<string, Millis>();
  /** Dials that wait for their machines to reach each other. */
  #waiting: { readonly pair: string; readonly again: () => void }[] = [];

  constructor(time: VirtualTime, random: Random, speed: LinkSpeed) {
    this.#time = time;
    this.#random = random;
    this.#speed = speed;
  }

  listen<Request, Message>(process: Process, address: string, heard: Listener<Request, Message>): void {
    // Whoever dials an address speaks its listener's language.
    this.#listeners.set(address, { process, heard: heard as Listener<unknown, unknown> });
  }

  /** @param settled the end, or why there is none */
  dial<Request, Message>(
    { from, address, request, timeoutMs, keepAliveMs }: Dial<Request>,
    settled: (end: End<Message> | undefined, failure: string) => void,
  ): void {
    let isOver = false;
    const settle = (end: End<Message> | undefined, failure: string) => {
      if (isOver) return end?.close("it has given up");
      isOver = true;
      from.receive(() => settled(end, failure));
    };
    from.after(timeoutMs, () => settle(undefined, "no answer in time"));
    const knock = () => {
      const listener = this.#listeners.get(address);
      const machine = listener?.process.machine;
      if (machine !== undefined && this.isBlocked(from.machine, machine)) {
        this.#waiting.push({ pair: pairOf(from.machine, machine), again: knock });
        return;
      }
      const refuse = () => this.#time.after(this.#latency(), () => settle(undefined, "refused"));
      if (!listener?.process.isAlive) return void refuse();
      const accept = (): End<Message> => {
        const connection = this.#connect([from, listener.process], keepAliveMs);
        const theirs = this.#end<Message>(connection, 0);
        const standsMs = this.#time.nowMs + this.#latency();
        // Whatever is said over it comes after.
        connection.sides[1].lastMs = standsMs;
        this.#time.at(standsMs, () => (from.isAlive ? settle(theirs, "") : this.#closeSide(connection, 0, deadPeer)));
        return this.#end<Message>(connection, 1);
      };
      listener.process.receive(() => listener.heard(request, { accept: () => accept() as End<unknown>, refuse }));
    };
    this.#time.after(this.#latency(), knock);
  }

  isBlocked(a: number, b: number): boolean {
    return this.#blocked.size > 0 && this.#blocked.has(pairOf(a, b));
  }

  /** From now on two machines cannot reach each other. */
  block(a: number, b: number): void {
    const pair = pairOf(a, b);
    if (a === b || this.#blocked.has(pair)) return;
    const sinceMs = this.#time.nowMs;
    this.#blocked.set(pair, sinceMs);
    for (const connection of this.#all()) {
      const [one, other] = connection.sides;
      if (pairOf(one.process.machine, other.process.machine) !== pair) continue;
      this.#watch(connection, [0, 1], () => this.#blocked.get(pair) === sinceMs);
    }
  }

  unblock(a: number, b: number): void {
    const pair = pairOf(a, b);
    if (!this.#blocked.delete(pair)) return;
    for (const connection of this.#all()) {
      const [one, other] = connection.sides;
      if (pairOf(one.process.machine, other.process.machine) !== pair) continue;
      // What comes meanwhile waits behind it.
      this.#time.after(this.#latency(), () => {
        if (!this.#blocked.has(pair)) for (const arrive of connection.held.splice(0)) arrive();
      });
    }
    const again = this.#waiting.filter((dial) => dial.pair === pair);
    this.#waiting = this.#waiting.filter((dial) => dial.pair !== pair);
    for (const dial of again) dial.again();
  }

  /** Breaks all connections between two processes; each hears of it after a while of its own. */
  cut(a: Process, b: Process, hearMs: (process: Process) => Millis): void {
    for (const connection of this.#connections.get(a) ?? []) {
      if (!connection.sides.some(({ process }) => process === b) || connection.isBroken) continue;
      connection.isBroken = true;
      for (const index of [0, 1] as const)
        this.#time.after(hearMs(connection.sides[index].process), () =>
          this.#hearClosed(connection, index, "connection reset"),
        );
    }
  }

  #connect(processes: readonly [Process, Process], keepAliveMs: Millis | null): Connection {
    const side = (process: Process): Side => ({
      process,
      handlers: undefined,
      isOpen: true,
      freeMs: 0,
      lastMs: 0,
      bulkFreeMs: 0,
    });
    const connection: Connection = {
      sides: [side(processes[0]), side(processes[1])],
      keepAliveMs,
      isBroken: false,
      held: [],
    };
    for (const process of processes) this.#connectionsOf(process).add(connection);
    return connection;
  }

  #connectionsOf(process: Process): Set<Connection> {
    const known = this.#connections.get(process);
    if (known) return known;
    const connections = new Set<Connection>();
    this.#connections.set(process, connections);
    process.onDeath(() => {
      for (const connection of connections)
        this.#closeSide(connection, connection.sides[0].process === process ? 0 : 1, deadPeer);
      this.#connections.delete(process);
    });
    process.onPause(() => {
      const sinceMs = this.#time.nowMs;
      for (const connection of connections)
        this.#watch(connection, [connection.sides[0].process === process ? 1 : 0], () => process.pausedMs === sinceMs);
    });
    return connections;
  }

  *#all(): Iterable<Connection> {
    const seen = new Set<Connection>();
    for (const connections of this.#connections.values())
      for (const connection of connections) {
        if (seen.has(connection)) continue;
        seen.add(connection);
        yield connection;
      }
  }

  #end<Message>(connection: Connection, index: 0 | 1): End<Message> {
    const side = connection.sides[index];
    const other = connection.sides[1 - index] as Side;
    const arriveAt = (leftMs: Millis): Millis => {
      side.lastMs = Math.max(side.lastMs, leftMs + this.#latency());
      return side.lastMs;
    };
    const deliver = (message: Message) => this.#deliver(connection, other, () => other.handlers?.message(message));
    const leave = (bytes: number): Millis => {
      side.freeMs = Math.max(side.freeMs, this.#time.nowMs) + bytes / this.#speed.bytesPerMs;
      return side.freeMs;
    };
    return {
      get isOpen() {
        return side.isOpen;
      },
      // A message may be of any kind that the address's language has.
      listen: (handlers) => {
        side.handlers = handlers as EndHandlers<unknown>;
      },
      send: (message, bytes) => {
        if (side.isOpen) this.#time.at(arriveAt(leave(bytes)), () => deliver(message));
      },
      sendView: (read, bytes) => {
        if (!side.isOpen) return;
        const leftMs = leave(bytes);
        this.#time.at(leftMs, () => {
          if (!side.isOpen) return;
          const message = read();
          this.#time.at(arriveAt(leftMs), () => deliver(message));
        });
      },
      sendBulk: (read, bytes, left) => {
        if (!side.isOpen) return;
        side.bulkFreeMs = Math.max(side.bulkFreeMs, this.#time.nowMs) + bytes / this.#speed.bytesPerMs;
        this.#time.at(side.bulkFreeMs, () => {
          if (side.isOpen) {
            const message = read();
            this.#time.at(arriveAt(this.#time.nowMs), () => deliver(message));
          }
          if (left) side.process.receive(left);
        });
      },
      close: (reason) => this.#closeSide(connection, index, reason),
      finish: (reason) => this.#time.at(side.freeMs, () => this.#closeSide(connection, index, reason)),
    };
  }

  #deliver(connection: Connection, to: Side, arrive: () => void): void {
    if (connection.isBroken || !to.isOpen) return;
    const [one, other] = connection.sides;
    if (connection.held.length > 0 || this.isBlocked(one.process.machine, other.process.machine)) {
      connection.held.push(() => this.#deliver(connection, to, arrive));
      return;
    }
    to.process.receive(() => {
      if (to.isOpen) arrive();
    });
  }

  #closeSide(connection: Connection, index: 0 | 1, reason: string): void {
    const side = connection.sides[index];
    const other = connection.sides[1 - index] as Side;
    if (!side.isOpen) return;
    side.isOpen = false;
    this.#forget(connection);
    side.lastMs = Math.max(side.lastMs, this.#time.nowMs + this.#latency());
    this.#time.at(side.lastMs, () => this.#deliver(connection, other, () => this.#closed(connection, other, reason)));
  }

  /** An end finds out by itself. */
  #hearClosed(connection: Connection, index: 0 | 1, reason: string): void {
    const side = connection.sides[index];
    side.process.receive(() => {
      if (side.isOpen) this.#closed(connection, side, reason);
    });
  }

  #closed(connection: Connection, side: Side, reason: string): void {
    const index = connection.sides[0] === side ? 0 : 1;
    this.#closeSide(connection, index, reason);
    side.handlers?.closed(reason);
  }

  #forget(connection: Connection): void {
    if (connection.sides.some(({ isOpen }) => isOpen)) return;
    for (const { process } of connection.sides) this.#connections.get(process)?.delete(connection);
  }

  /** Lets ends find out that they hear nothing of the other, if that is still so when their keep-alive has run out. */
  #watch(connection: Connection, ends: readonly (0 | 1)[], isStillSo: () => boolean): void {
    if (connection.keepAliveMs === null) return;
    const spread = this.#speed.jitter === 0 ? 0 : this.#random.unit();
    for (const index of ends)
      this.#time.after(connection.keepAliveMs * (1 + spread / 4), () => {
        if (isStillSo()) this.#hearClosed(connection, index, "it was silent for too long");
      });
  }

  #latency(): Millis {
    const { latencyMs, jitter } = this.#speed;
    return jitter === 0 ? latencyMs : latencyMs * (1 + jitter * this.#random.unit());
  }
}

const pairOf = (a: number, b: number): string => (a < b ? `${a}/${b}` : `${b}/${a}`);
