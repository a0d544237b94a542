/** Where a rank's peers dial in. A listener keeps its port over all generations; each generation's ring expects its own link. */
import { createServer, type IncomingMessage, type Server } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import { CollectiveError } from "./collective-error.ts";
import { ExpectedLinks } from "./expected-links.ts";
import type { KeepAlive } from "./keep-alive.ts";
import type { Link, LinkHandlers } from "./link.ts";
import { isProven, type LinkEnds, parseLinkRequest } from "./link-address.ts";
import { type StateOffer, StateOffers } from "./state-offer.ts";

export interface RingListenerOptions {
  /** The address to listen on. */
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly secret: string;
  /** The run's name. */
  readonly run: string;
}

export interface RingListener {
  readonly port: number;
  /**
   * Waits for one dial of this link, proven with the run's secret. Without proof a dial is refused (401). One that comes before its `accept`
   * waits up to 2 s if it is of a generation newer than all that were accepted; the others are refused (409).
   */
  accept(link: LinkEnds, handlers: LinkHandlers, signal: AbortSignal, keepAlive?: KeepAlive): Promise<Link>;
  /**
   * Lets members of the offer's generation copy a state (`fetchState`), or none any more. Transfers of the offer before are cut: when this
   * returns, nobody reads its parts.
   * @throws CollectiveError `MISUSE`, ProtocolError where the offer does not fit into messages
   */
  offerState(offer: StateOffer | undefined): void;
  /** Frees the port and withdraws the offer. Links that stand are not touched. */
  close(): Promise<void>;
}

/** @throws CollectiveError `LISTEN_FAILED` */
export async function listenForRing(options: RingListenerOptions): Promise<RingListener> {
  const { host, port, secret, run } = options;
  const links = new ExpectedLinks();
  const states = new StateOffers();
  // Receivers send nothing but control frames: a message of more than one byte ends the link.
  const webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: 1,
  });
  const server = createServer({
    noDelay: true,
    maxHeaderSize: 4096,
    headersTimeout: 5000,
    connectionsCheckingInterval: 1000,
  });
  server.on("request", (_request, response) => response.writeHead(426).end("this port speaks WebSocket\n"));
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => socket.destroy());
    const asked = parseLinkRequest(request);
    if (asked === undefined || !(socket instanceof Socket))
      return refuse(socket, "400 Bad Request", "expected /ring or /state and ?generation=G&from=F&to=T");
    if (!isProven(secret, run, asked))
      return refuse(socket, "401 Unauthorized", "the link's proof does not fit: another secret, run or purpose");
    const { path, link } = asked;
    const answer = (opened: (webSocket: WebSocket) => void) => webSockets.handleUpgrade(request, socket, head, opened);
    if (path === "/ring") {
      const refuseLink = () => refuse(socket, "409 Conflict", "this link is not expected now");
      return links.dialled({ link, socket, answer, refuse: refuseLink });
    }
    if (!states.isOffered(link.generation))
      return refuse(socket, "409 Conflict", "no state of this generation is offered now");
    answer((webSocket) => states.serve(webSocket, socket, link.to));
  });
  const bound = await listen(server, host, port);

  return {
    port: bound,
    accept: (link, handlers, signal, keepAlive) => links.accept(link, handlers, signal, keepAlive),
    offerState: (offer) => states.offer(offer),
    close() {
      links.close();
      states.offer(undefined);
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) =>
      reject(new CollectiveError("LISTEN_FAILED", `cannot listen on ${host}:${port}: ${cause.message}`, { cause })),
    );
    server.listen(port, host, () => {
      const address = server.address();
      resolve(address !== null && typeof address === "object" ? address.port : port);
    });
  });
}

function refuse(socket: Duplex, status: string, reason: string): void {
  const body = `${reason}\n`;
  socket.once("finish", () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
