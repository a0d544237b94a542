/**
 * The sending end of state links: a rank that holds the newest state lets those behind copy it, several at once, straight from the memory
 * in which it lies.
 *
 * On such a link go the opaque messages `about`, then the state in bulk messages in order, then an orderly close. A part is sent when the
 * kernel has taken the one before, so a slow reader costs nothing but its socket. A transfer whose reader stalls lasts as long as the offer.
 */
import type { Socket } from "node:net";
import {
  encodeStateHeader,
  isBulk,
  maxAboutBytes,
  maxControlBytes,
  maxStateBytes,
  maxStatePartBytes,
} from "@ringmaster/protocol";
import type { WebSocket } from "ws";
import { CollectiveError } from "./collective-error.ts";
import { orderlyCode, sendInTwo } from "./link.ts";

/** The state after a step, as members of a generation may copy it. */
export interface StateOffer {
  readonly generation: number;
  readonly step: number;
  /** What the receiver should know beside the bytes: one message or more, none of them bulk, `maxAboutBytes` in all. */
  readonly about: readonly Uint8Array[];
  /** The tensors' bytes in order: views of live memory, which does not change while the offer stands. */
  readonly parts: readonly Uint8Array[];
}

export class StateOffers {
  readonly #transfers = new Map<number, WebSocket>(); // by receiver: a peer that dials again has given up its first try
  #offer: StateOffer | undefined;

  /**
   * Replaces the offer. The transfers under way are cut: when this returns, nobody reads the old parts any more.
   * @throws CollectiveError `MISUSE`, ProtocolError where the offer does not fit into messages
   */
  offer(offer: StateOffer | undefined): void {
    if (offer !== undefined) checkOffer(offer);
    this.#offer = offer;
    for (const webSocket of this.#transfers.values()) webSocket.terminate();
    this.#transfers.clear();
  }

  isOffered(generation: number): boolean {
    return this.#offer?.generation === generation;
  }

  /** Sends the state to member `to`. */
  serve(webSocket: WebSocket, socket: Socket, to: number): void {
    this.#transfers.get(to)?.terminate();
    this.#transfers.set(to, webSocket);
    webSocket.on("error", () => webSocket.terminate());
    webSocket.on("message", () => webSocket.terminate()); // a receiver says nothing
    webSocket.once("close", () => {
      if (this.#transfers.get(to) === webSocket) this.#transfers.delete(to);
    });
    if (this.#offer === undefined) return webSocket.terminate();
    const { about, ...state } = this.#offer;
    const first = about.values();
    const rest = messages(state);
    const next = (error?: Error | null): void => {
      if (error) return webSocket.terminate();
      const word = first.next().value;
      if (word !== undefined) return webSocket.send(word, { binary: true }, next);
      const message = rest.next().value;
      if (message === undefined) return webSocket.close(orderlyCode);
      sendInTwo(webSocket, socket, message.header, message.payload, next);
    };
    next();
  }
}

function* messages({ generation, step, parts }: Omit<StateOffer, "about">) {
  let byteOffset = 0;
  for (const part of parts)
    for (let at = 0; at < part.length; at += maxStatePartBytes) {
      const payload = part.subarray(at, at + maxStatePartBytes);
      yield { header: encodeStateHeader({ generation, step, byteOffset }, payload.length), payload };
      byteOffset += payload.length;
    }
}

function checkOffer({ generation, step, about, parts }: StateOffer): void {
  encodeStateHeader({ generation, step, byteOffset: 0 }, 0); // else its errors would come from within a transfer
  const [aboutBytes, totalBytes] = [bytesOf(about), bytesOf(parts)];
  if (about.length === 0 || about.some((word) => word.length > maxControlBytes || isBulk(word)))
    throw new CollectiveError(
      "MISUSE",
      `an offer tells something of its state, in messages of at most ${maxControlBytes} bytes that are not bulk`,
    );
  if (aboutBytes > maxAboutBytes || totalBytes > maxStateBytes)
    throw new CollectiveError(
      "MISUSE",
      `an offer has at most ${maxAboutBytes} bytes about a state of at most ${maxStateBytes} bytes, not ${aboutBytes} and ${totalBytes}`,
    );
}

const bytesOf = (parts: readonly Uint8Array[]): number => parts.reduce((sum, part) => sum + part.length, 0);
