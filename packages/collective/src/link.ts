/**
 * One direction of the ring: a WebSocket from a rank (the server, which sends) to its next rank (the client, which dialled and receives).
 * Only a client masks its frames, so bulk is never masked, copied or deflated on its way out.
 */
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";

/** Data flows from rank `from` to rank `to`. */
export interface LinkEnds {
  readonly generation: number;
  readonly from: number;
  readonly to: number;
}

/** How a link ended by itself. `orderly`: the peer said that it is done. */
export interface LinkEnd {
  readonly cause: "orderly" | "lost" | "broken";
  readonly detail: string;
}

export interface LinkHandlers {
  /** A whole binary message; the bytes are the handler's. */
  message(bytes: Uint8Array): void;
  /** Called once at most, and never after `close` or `cut`. */
  ended(end: LinkEnd): void;
}

/** The close code of a rank that holds its last round and leaves (RFC 6455: normal closure). */
const orderlyCode = 1000;
/** How long a peer may take to read what was sent before an orderly close. */
const closeTimeoutMs = 10_000;

export class Link {
  readonly #webSocket: WebSocket;
  readonly #stream: Duplex | undefined;
  readonly #closed: Promise<void>;
  #over = false; // nothing more is told to the handlers

  /** `stream` is the socket under an outgoing link: what belongs to one message is handed to the kernel at once. */
  constructor(webSocket: WebSocket, handlers: LinkHandlers, stream?: Duplex) {
    this.#webSocket = webSocket;
    this.#stream = stream;
    const end = (cause: LinkEnd["cause"], detail: string) => {
      if (this.#over) return;
      this.#over = true;
      handlers.ended({ cause, detail });
    };
    this.#closed = new Promise((resolve) => webSocket.once("close", () => resolve()));
    webSocket.on("message", (data, isBinary) => {
      if (this.#over) return;
      if (isBinary && data instanceof Uint8Array) handlers.message(data);
      else end("broken", "a text message came over a link for bulk");
    });
    // ws: errors of the peer's framing have codes that begin with WS_ERR_, all others are the socket's
    webSocket.on("error", (error) => end(codeOf(error).startsWith("WS_ERR_") ? "broken" : "lost", error.message));
    webSocket.on("close", (code) => end(code === orderlyCode ? "orderly" : "lost", `closed with code ${code}`));
  }

  /** Queues one message made of both parts. `payload` is not copied: it must stay as it is until the peer has it. */
  send(header: Uint8Array, payload: Uint8Array): void {
    this.#stream?.cork();
    this.#webSocket.send(header, { binary: true, fin: false });
    this.#webSocket.send(payload, { binary: true, fin: true });
    this.#stream?.uncork();
  }

  /** Ends the link once all that was sent is delivered, or after 10 s. */
  async close(): Promise<void> {
    this.#over = true;
    this.#webSocket.close(orderlyCode);
    const timer = setTimeout(() => this.#webSocket.terminate(), closeTimeoutMs);
    await this.#closed;
    clearTimeout(timer);
  }

  /** Ends the link at once. */
  cut(): void {
    this.#over = true;
    this.#webSocket.terminate();
  }
}

function codeOf(error: Error): string {
  return "code" in error && typeof error.code === "string" ? error.code : "";
}
