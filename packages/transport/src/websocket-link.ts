import { maxReasonChars } from "@ringmaster/protocol";
import { WebSocket } from "ws";
import type { ControlLink, LinkHandlers } from "./control-link.ts";

/** Of a close frame: application-defined, "ended in order, with a reason". */
const closedInOrder = 4000;
/** A close frame's reason has at most 123 bytes of UTF-8. */
const maxCloseReasonBytes = 120;
/** How much may wait in the socket before a bulk sender pauses. */
const maxBufferedBytes = 4 * 2 ** 20;

/** A link over a WebSocket that stands. */
export function websocketLink(socket: WebSocket, peer: string): ControlLink {
  let handlers: LinkHandlers | undefined;
  let isClosed = false;
  const closed = (reason: string) => {
    if (isClosed) return;
    isClosed = true;
    handlers?.closed(reason);
  };
  socket.on("message", (data, isBinary) => {
    if (isClosed) return;
    if (!isBinary) return socket.close(1003, "expected binary messages");
    handlers?.message(data as Buffer);
  });
  // Too large, badly framed, or reset: `close` follows.
  let fault = "";
  socket.on("error", (error) => {
    fault = error.message;
  });
  socket.on("close", (_code, reason) => closed(reason.toString() || fault));

  return {
    peer,
    send(message) {
      if (socket.readyState === WebSocket.OPEN) socket.send(message);
    },
    async sendBulk(header, payload) {
      if (socket.readyState !== WebSocket.OPEN) return;
      socket.send(header, { binary: true, fin: false });
      const sent = new Promise<void>((resolve) => socket.send(payload, { binary: true, fin: true }, () => resolve()));
      if (socket.bufferedAmount > maxBufferedBytes || payload.buffer instanceof SharedArrayBuffer) await sent;
    },
    listen(given) {
      handlers = given;
    },
    close(reason) {
      if (isClosed) return;
      isClosed = true;
      socket.close(closedInOrder, shortenBytes(reason.slice(0, maxReasonChars)));
      // A peer that does not answer the close frame is cut off.
      const timer = setTimeout(() => socket.terminate(), 2000);
      timer.unref();
      socket.once("close", () => clearTimeout(timer));
    },
  };
}

function shortenBytes(text: string): string {
  let short = text;
  while (Buffer.byteLength(short) > maxCloseReasonBytes) short = short.slice(0, -1);
  return short;
}
