/**
 * Brings the link that a rank expects together with its dial, whichever comes first.
 *
 * Ranks enter a generation at different moments. A proven dial of a generation that this rank has not entered yet is kept for a while
 * without an answer, so that the ring closes in the moment in which its last rank comes. Other dials that nobody expects are refused at
 * once; the dialler tries again.
 */
import type { Socket } from "node:net";
import type { WebSocket } from "ws";
import { CollectiveError } from "./collective-error.ts";
import type { KeepAlive } from "./keep-alive.ts";
import { Link, type LinkHandlers } from "./link.ts";
import type { LinkEnds } from "./link-address.ts";

/** A dial that has proven its link and has no answer yet: it gets one of the two. */
export interface ProvenDial {
  readonly link: LinkEnds;
  readonly socket: Socket;
  /** Completes the handshake. Calls back at once, or never where the handshake is none. */
  answer(opened: (webSocket: WebSocket) => void): void;
  refuse(): void;
}

interface EarlyDial {
  /** Ends the wait and hands the dial over. */
  take(): ProvenDial;
  refuse(): void;
}

const maxEarlyDials = 16;
const maxWaitMs = 2000;

export class ExpectedLinks {
  readonly #expected = new Map<string, (dial: ProvenDial) => void>();
  readonly #early = new Map<string, EarlyDial>(); // the oldest first
  #newestGeneration = -1; // of the links that were ever expected

  /** @throws CollectiveError `LINK_TIMEOUT` once the signal is aborted */
  accept(link: LinkEnds, handlers: LinkHandlers, signal: AbortSignal, keepAlive?: KeepAlive): Promise<Link> {
    return new Promise((resolve, reject) => {
      const key = keyOf(link);
      const forget = () => {
        if (this.#expected.get(key) === connect) this.#expected.delete(key);
      };
      const giveUp = () => {
        forget();
        const message = `rank ${link.to} did not dial rank ${link.from} in time`;
        reject(new CollectiveError("LINK_TIMEOUT", message, { peerRank: link.to }));
      };
      const connect = (dial: ProvenDial) =>
        dial.answer((webSocket) => {
          forget();
          signal.removeEventListener("abort", giveUp);
          resolve(new Link(webSocket, dial.socket, handlers, keepAlive));
        });
      if (signal.aborted) return giveUp();
      signal.addEventListener("abort", giveUp, { once: true });
      this.#newestGeneration = Math.max(this.#newestGeneration, link.generation);
      this.#expected.set(key, connect);
      const early = this.#early.get(key);
      if (early !== undefined) connect(early.take());
    });
  }

  dialled(dial: ProvenDial): void {
    const connect = this.#expected.get(keyOf(dial.link));
    if (connect !== undefined) connect(dial);
    else if (dial.link.generation > this.#newestGeneration) this.#keep(dial);
    else dial.refuse();
  }

  /** Refuses the dials that wait. */
  close(): void {
    for (const early of [...this.#early.values()]) early.refuse();
  }

  #keep(dial: ProvenDial): void {
    const key = keyOf(dial.link);
    this.#early.get(key)?.refuse(); // who dials again has given up the dial before
    if (this.#early.size >= maxEarlyDials) this.#early.values().next().value?.refuse();
    const { socket } = dial;
    const leave = () => {
      clearTimeout(timer);
      socket.off("data", refuse).off("end", refuse).off("close", leave);
      this.#early.delete(key);
    };
    const refuse = () => {
      leave();
      dial.refuse();
    };
    const timer = setTimeout(refuse, maxWaitMs);
    // A dialler says nothing before it is answered; that it hangs up is heard only by who reads.
    socket.on("data", refuse).on("end", refuse).on("close", leave);
    this.#early.set(key, {
      take() {
        leave();
        return dial;
      },
      refuse,
    });
  }
}

function keyOf({ generation, from, to }: LinkEnds): string {
  return `${generation}/${from}/${to}`;
}
