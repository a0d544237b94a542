import { maxControlBytes, maxReasonChars } from "@ringmaster/protocol";
import { WebSocket } from "ws";
import type { ControlLink, LinkHandlers } from "./control-link.ts";

/** Of a close frame: application-defined, "ended in order, with a reason". */
const closedInOrder = 4000;
/** A close frame's reason has at most 123 bytes of UTF-8. */
const maxCloseReasonBytes = 120;
/** RFC 6455, 7.4.1: a type of data that cannot be accepted. */
const unsupportedData = 1003;
/** A peer that does not answer the close frame is cut off. */
const farewellMs = 2000;

/** A link over a WebSocket that stands. Nothing is read before somebody listens. */
export function websocketLink(socket: WebSocket, peer: string): ControlLink {
  let handlers: LinkHandlers | undefined;
  let isClosed = false;
  /** What the peer did that ends the link; nothing more is taken from it. */
  let fault = "";
  socket.pause();
  const cutOffSoon = () => {
    const timer = setTimeout(() => socket.terminate(), farewellMs);
    timer.unref();
    socket.once("close", () => clearTimeout(timer));
  };
  socket.on("message", (data, isBinary) => {
    if (isClosed || fault !== "") return;
    if (isBinary) return handlers?.message(data as Buffer);
    fault = "MESSAGE_MALFORMED: expected binary messages, found text";
    socket.close(unsupportedData, fault);
    cutOffSoon();
  });
  // ws answers what is too large or badly framed with a close frame of its own.
  socket.on("error", (error) => {
    fault = faultOf(error);
    cutOffSoon();
  });
  socket.on("close", (_code, reason) => {
    if (isClosed) return;
    isClosed = true;
    handlers?.closed(fault || reason.toString());
  });

  return {
    peer,
    send(message) {
      if (socket.readyState === WebSocket.OPEN) socket.send(message);
    },
    async sendBulk(header, payload) {
      if (socket.readyState !== WebSocket.OPEN) return;
      socket.send(header, { binary: true, fin: false });
      // The socket holds the payload itself, not a copy, until it is written.
      await new Promise<void>((resolve) => socket.send(payload, { binary: true, fin: true }, () => resolve()));
    },
    listen(given) {
      handlers = given;
      socket.resume();
    },
    close(reason) {
      if (isClosed) return;
      isClosed = true;
      socket.close(closedInOrder, shortenBytes(reason.slice(0, maxReasonChars)));
      cutOffSoon();
    },
  };
}

function faultOf(error: Error): string {
  const tooLarge = "code" in error && error.code === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH";
  return tooLarge
    ? `MESSAGE_TOO_LARGE: expected a message of at most ${maxControlBytes} bytes`
    : `MESSAGE_MALFORMED: ${error.message}`;
}

function shortenBytes(text: string): string {
  let short = text;
  while (Buffer.byteLength(short) > maxCloseReasonBytes) short = short.slice(0, -1);
  return short;
}
