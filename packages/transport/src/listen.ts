import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { maxControlBytes, tokensEqual } from "@ringmaster/protocol";
import { WebSocketServer } from "ws";
import type { ControlLink } from "./control-link.ts";
import { TransportError } from "./transport-error.ts";
import { websocketLink } from "./websocket-link.ts";

export interface ListenOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Without it no connection is upgraded. */
  readonly token: string;
  readonly onLink: (link: ControlLink) => void;
  /** Somebody was turned away, and why. */
  readonly onRefused: (peer: string, reason: string) => void;
}

export interface WorkerListener {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Where workers knock: a WebSocket at /worker behind the run's token.
 * @throws TransportError PORT_TAKEN, LISTEN_FAILED
 */
export async function listenForWorkers(options: ListenOptions): Promise<WorkerListener> {
  const server = createServer((_request, response) => {
    response
      .writeHead(426, { "content-type": "text/plain" })
      .end("This is a Ringmaster coordinator: workers connect with a WebSocket.\n");
  });
  const sockets = new WebSocketServer({ noServer: true, maxPayload: maxControlBytes, perMessageDeflate: false });
  server.on("upgrade", (request, socket, head) => {
    socket.on("error", () => socket.destroy());
    const peer = `${request.socket.remoteAddress}:${request.socket.remotePort}`;
    const refusal = refuse(request, options.token);
    if (refusal) {
      options.onRefused(peer, refusal.reason);
      return turnAway(socket, refusal);
    }
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      request.socket.setNoDelay(true);
      options.onLink(websocketLink(webSocket, peer));
    });
  });
  await listen(server, options);
  const address = server.address() as AddressInfo;
  return {
    host: options.host,
    port: address.port,
    close: () =>
      new Promise((resolve) => {
        for (const client of sockets.clients) client.terminate();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Refusal {
  readonly status: string;
  readonly reason: string;
}

function refuse(request: IncomingMessage, token: string): Refusal | undefined {
  if (request.url !== "/worker") return { status: "404 Not Found", reason: `expected the path /worker` };
  const [, given = ""] = /^Bearer (.*)$/i.exec(request.headers.authorization ?? "") ?? [];
  if (!tokensEqual(given, token)) {
    return { status: "401 Unauthorized", reason: given === "" ? "no token" : "wrong token" };
  }
  return undefined;
}

function turnAway(socket: Duplex, { status, reason }: Refusal): void {
  const body = `${reason}\n`;
  // Whoever is turned away may keep its half open: closing the listener would wait for it.
  socket.once("finish", () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
}

function listen(server: ReturnType<typeof createServer>, { host, port }: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    // Not once: an accept that fails later must not end the process.
    server.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") {
        const advice = "choose another with --port, or --port 0 for any free one";
        return reject(
          new TransportError("PORT_TAKEN", `port ${port} of ${host} is taken by another program; ${advice}`),
        );
      }
      reject(new TransportError("LISTEN_FAILED", `cannot listen on ${host}:${port}: ${error.message}`));
    });
    server.listen(port, host, () => resolve());
  });
}
