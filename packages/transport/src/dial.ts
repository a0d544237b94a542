import { maxControlBytes } from "@ringmaster/protocol";
import { WebSocket } from "ws";
import type { ControlLink } from "./control-link.ts";
import { TransportError } from "./transport-error.ts";
import { websocketLink } from "./websocket-link.ts";

export interface DialOptions {
  /** ws://host:port of the coordinator. */
  readonly url: string;
  readonly token: string;
  /** How long to try: the coordinator may start after its workers. Default 30,000. */
  readonly patienceMs?: number;
  readonly signal?: AbortSignal;
  /** Told once, when the first try found nobody and more follow: why, in a few words. */
  readonly onWaiting?: (why: string) => void;
}

const betweenTriesMs = 200;

/**
 * Connects a worker with its coordinator.
 * @throws TransportError BAD_ADDRESS, TOKEN_REFUSED, COORDINATOR_UNREACHABLE
 */
export async function dialCoordinator(options: DialOptions): Promise<ControlLink> {
  const url = parseAddress(options.url);
  const deadline = performance.now() + (options.patienceMs ?? 30_000);
  for (let isFirst = true; ; isFirst = false) {
    options.signal?.throwIfAborted();
    try {
      return await connect(url, options.token);
    } catch (error) {
      if (error instanceof TransportError) throw error;
      if (performance.now() > deadline) {
        const advice = "is the coordinator running there, and its port open?";
        throw new TransportError(
          "COORDINATOR_UNREACHABLE",
          `no coordinator answers at ${options.url} (${describe(error)}); ${advice}`,
        );
      }
      if (isFirst) options.onWaiting?.(describe(error));
      await new Promise((resolve) => setTimeout(resolve, betweenTriesMs));
    }
  }
}

function parseAddress(text: string): URL {
  const url = tryUrl(text);
  // The text, because a URL drops the port that is its protocol's own.
  if (url === null || !/^ws:\/\/[^/]+:\d+(\/|$)/i.test(text)) {
    throw new TransportError("BAD_ADDRESS", `expected an address such as ws://host:4600, found ${text}`);
  }
  url.pathname = "/worker";
  return url;
}

function tryUrl(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

/** Where a name has several addresses, the error that stands for all tries has a code but no message. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message || ("code" in error ? String(error.code) : error.name);
}

function connect(url: URL, token: string): Promise<ControlLink> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}` };
    const socket = new WebSocket(url, {
      headers,
      maxPayload: maxControlBytes,
      perMessageDeflate: false,
      handshakeTimeout: 5000,
    });
    socket.once("error", reject);
    socket.once("unexpected-response", (_request, response) => {
      const status = response.statusCode;
      socket.terminate();
      if (status === 401) {
        const advice = "use the one that the coordinator printed";
        reject(new TransportError("TOKEN_REFUSED", `the coordinator at ${url.host} refused the token; ${advice}`));
      } else
        reject(new TransportError("BAD_ADDRESS", `what answers at ${url.host} is no coordinator (HTTP ${status})`));
    });
    socket.once("open", () => {
      socket.off("error", reject);
      resolve(websocketLink(socket, url.host));
    });
  });
}
