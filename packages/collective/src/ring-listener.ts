/** Where a rank's next rank dials in. A listener keeps its port over all generations; each generation's ring expects its own link. */
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { Duplex } from "node:stream";
import { verifyLinkProof } from "@ringmaster/protocol";
import { WebSocketServer } from "ws";
import { CollectiveError } from "./collective-error.ts";
import { Link, type LinkEnds, type LinkHandlers } from "./link.ts";
import { parseLinkRequest } from "./link-address.ts";

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
  /** Waits for one dial of this link, proven with the run's secret; all others are refused (401 without proof, 409 when not expected). */
  accept(link: LinkEnds, handlers: LinkHandlers, signal: AbortSignal): Promise<Link>;
  /** Frees the port. Links that stand are not touched. */
  close(): Promise<void>;
}

type Opened = (link: Link) => void;

/** @throws CollectiveError `LISTEN_FAILED` */
export async function listenForRing(options: RingListenerOptions): Promise<RingListener> {
  const { host, port, secret, run } = options;
  const expected = new Map<string, { handlers: LinkHandlers; opened: Opened }>();
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
    if (asked === undefined) return void refuse(socket, "400 Bad Request", "expected /ring?generation=G&from=F&to=T");
    if (!verifyLinkProof(secret, { run, ...asked.link }, asked.proof))
      return refuse(socket, "401 Unauthorized", "the link's proof does not fit: another secret or another run");
    const key = keyOf(asked.link);
    const expectation = expected.get(key);
    if (expectation === undefined) return refuse(socket, "409 Conflict", "this link is not expected now");
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      expected.delete(key);
      expectation.opened(new Link(webSocket, expectation.handlers, socket));
    });
  });
  const bound = await listen(server, host, port);

  return {
    port: bound,
    accept(link, handlers, signal) {
      return new Promise((resolve, reject) => {
        const key = keyOf(link);
        const giveUp = () => {
          expected.delete(key);
          reject(
            new CollectiveError(
              "LINK_TIMEOUT",
              `rank ${link.to} did not dial rank ${link.from} on port ${bound} in time`,
              {
                peerRank: link.to,
              },
            ),
          );
        };
        if (signal.aborted) return giveUp();
        signal.addEventListener("abort", giveUp, { once: true });
        const opened = (made: Link) => {
          signal.removeEventListener("abort", giveUp);
          resolve(made);
        };
        expected.set(key, { handlers, opened });
      });
    },
    close() {
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

function keyOf({ generation, from, to }: LinkEnds): string {
  return `${generation}/${from}/${to}`;
}
