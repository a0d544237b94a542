/**
 * One direction of the ring: a WebSocket from a rank (the server, which sends) to its next rank (the client, which dialled and receives).
 * Only a client masks its frames, so bulk is never masked, copied or deflated on its way out.
 */
import type { Socket } from "node:net";
import type { WebSocket } from "ws";
import { defaultKeepAlive, watchSilence } from "./keep-alive.ts";

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
export const orderlyCode = 1000;
/** How long a peer may take to read what was sent before an orderly close. */
const closeTimeoutMs = 10_000;

export class Link {
  readonly #webSocket: WebSocket;
  readonly #socket: Socket;
  readonly #pings: NodeJS.Timeout;
  readonly #endWatch: () => void;
  readonly #closed: Promise<void>;
  #over = false; // nothing more is told to the handlers

  /** `socket` is the one under the WebSocket. */
  constructor(webSocket: WebSocket, socket: Socket, handlers: LinkHandlers, keepAlive = defaultKeepAlive) {
    this.#webSocket = webSocket;
    this.#socket = socket;
    const end = (cause: LinkEnd["cause"], detail: string) => {
      if (this.#over) return;
      this.#stop();
      handlers.ended({ cause, detail });
    };
    this.#pings = setInterval(() => webSocket.ping(), keepAlive.pingMs);
    this.#endWatch = watchSilence(socket, keepAlive.silenceMs, (silentMs) => {
      webSocket.terminate();
      end("lost", `silent for ${silentMs} ms`);
    });
    this.#closed = new Promise((resolve) => webSocket.once("close", () => resolve()));
    webSocket.on("message", (data, isBinary) => {
      if (this.#over) return;
      if (isBinary && data instanceof Uint8Array) handlers.message(data);
      else end("broken", "a text message came over a link for bulk");
    });
    webSocket.on("error", (error) => end(isFramingError(error) ? "broken" : "lost", error.message));
    webSocket.on("close", (code) => end(code === orderlyCode ? "orderly" : "lost", `closed with code ${code}`));
  }

  /** Queues one message made of both parts. `payload` is not copied: it must stay as it is until the peer has it. */
  send(header: Uint8Array, payload: Uint8Array): void {
    sendInTwo(this.#webSocket, this.#socket, header, payload);
  }

  /** Ends the link once all that was sent is delivered, or after 10 s. */
  async close(): Promise<void> {
    this.#stop();
    this.#webSocket.close(orderlyCode);
    const timer = setTimeout(() => this.#webSocket.terminate(), closeTimeoutMs);
    await this.#closed;
    clearTimeout(timer);
  }

  /** Ends the link at once. */
  cut(): void {
    this.#stop();
    this.#webSocket.terminate();
  }

  #stop(): void {
    this.#over = true;
    clearInterval(this.#pings);
    this.#endWatch();
  }
}

/** Sends header and payload as one message without joining them: what belongs together is handed to the kernel at once. */
export function sendInTwo(
  webSocket: WebSocket,
  socket: Socket,
  header: Uint8Array,
  payload: Uint8Array,
  sent?: (error?: Error) => void,
): void {
  socket.cork();
  webSocket.send(header, { binary: true, fin: false });
  webSocket.send(payload, { binary: true, fin: true }, sent);
  socket.uncork();
}

/** Whether the peer broke the framing (ws gives such errors codes that begin with WS_ERR_); all other errors are the socket's. */
export function isFramingError(error: Error): boolean {
  return "code" in error && typeof error.code === "string" && error.code.startsWith("WS_ERR_");
}
