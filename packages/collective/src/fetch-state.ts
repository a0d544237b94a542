/** The receiving end of a state link: copies the state of a member that offers it. See state-offer.ts for what goes over the link. */
import type { Socket } from "node:net";
import {
  type BulkMessage,
  isBulk,
  maxAboutBytes,
  maxControlBytes,
  maxStateBytes,
  ProtocolError,
  parseBulk,
} from "@ringmaster/protocol";
import type { WebSocket } from "ws";
import { CollectiveError } from "./collective-error.ts";
import { dial } from "./dial.ts";
import { watchSilence } from "./keep-alive.ts";
import { isFramingError, orderlyCode } from "./link.ts";

export interface FetchStateOptions {
  /** Where the member that offers the state listens. */
  readonly host: string;
  readonly port: number;
  readonly generation: number;
  /** That member's and this one's position in the generation's list of members. */
  readonly from: number;
  readonly to: number;
  readonly secret: string;
  readonly run: string;
  /** The step whose state is wanted. */
  readonly step: number;
  /** How long the state is, as the fetcher knows from its own tensors. */
  readonly totalBytes: number;
  /** Gives up: the fetch is then rejected with the signal's reason. */
  readonly signal: AbortSignal;
  /** How long the peer may send nothing. Default 5000. */
  readonly stallMs?: number;
}

export interface FetchedState {
  /** The offer's opaque messages, in order; one at least. */
  readonly about: readonly Uint8Array[];
  readonly bytes: Uint8Array; // [totalBytes]
}

type Settle = { resolve(state: FetchedState): void; reject(error: unknown): void };

/** How long a member may take to offer the state. */
const dialTimeoutMs = 5000;

/**
 * @throws CollectiveError `LINK_REFUSED` (wrong secret or run), `LINK_TIMEOUT` (no such offer within 5 s, or nothing sent for `stallMs`),
 * `LINK_LOST` (the offer was withdrawn, the member is gone), `BAD_PEER` (it sent anything but this state); `MISUSE`. All with `peerRank`, which
 * here is `from`.
 */
export async function fetchState(options: FetchStateOptions): Promise<FetchedState> {
  const { generation, from, to, totalBytes, signal } = options;
  if (!(Number.isInteger(totalBytes) && totalBytes >= 0 && totalBytes <= maxStateBytes))
    throw new CollectiveError("MISUSE", `a state has 0 to ${maxStateBytes} bytes, not ${totalBytes}`);
  signal.throwIfAborted();
  const { host, port, secret, run } = options;
  const bytes = new Uint8Array(totalBytes);
  const dialling = new AbortController();
  const giveUp = () => dialling.abort();
  const timer = setTimeout(giveUp, dialTimeoutMs);
  signal.addEventListener("abort", giveUp, { once: true });
  return new Promise<FetchedState>((resolve, reject) => {
    const opened = (webSocket: WebSocket, socket: Socket) =>
      receive(options, bytes, webSocket, socket, { resolve, reject });
    const link = { generation, from, to };
    dial({ host, port, path: "/state", link, secret, run, maxMessageBytes: maxControlBytes, opened }, dialling.signal)
      .catch((error: unknown) => reject(signal.aborted ? signal.reason : error))
      .finally(() => {
        clearTimeout(timer);
        signal.removeEventListener("abort", giveUp);
      });
  });
}

function receive(
  options: FetchStateOptions,
  bytes: Uint8Array,
  webSocket: WebSocket,
  socket: Socket,
  settle: Settle,
): void {
  const { from, totalBytes, signal, stallMs = 5000 } = options;
  const about: Uint8Array[] = [];
  let aboutBytes = 0;
  let received = 0;
  let isOver = false;

  const end = (how: () => void) => {
    if (isOver) return;
    isOver = true;
    endWatch();
    signal.removeEventListener("abort", abort);
    webSocket.terminate();
    how();
  };
  const fail = (code: CollectiveError["code"], message: string) =>
    end(() =>
      settle.reject(new CollectiveError(code, `the state from member ${from}: ${message}`, { peerRank: from })),
    );
  const abort = () => end(() => settle.reject(signal.reason));
  const endWatch = watchSilence(socket, stallMs, (silentMs) => fail("LINK_TIMEOUT", `silent for ${silentMs} ms`));

  signal.addEventListener("abort", abort, { once: true });
  webSocket.on("message", (data, isBinary) => {
    if (isOver) return;
    if (!isBinary || !(data instanceof Uint8Array)) return fail("BAD_PEER", "a text message came");
    if (!isBulk(data)) {
      aboutBytes += data.length;
      if (received > 0) return fail("BAD_PEER", `a message that is no part of it came after ${received} bytes`);
      if (aboutBytes > maxAboutBytes) return fail("BAD_PEER", `more than ${maxAboutBytes} bytes about it`);
      about.push(new Uint8Array(data)); // a copy: the message lies in a larger buffer
      return;
    }
    if (about.length === 0) return fail("BAD_PEER", "a part came before anything about it");
    const part = parsePart(data, options, received);
    if (typeof part === "string") return fail("BAD_PEER", part);
    bytes.set(part, received);
    received += part.length;
  });
  // A sender of states does not ping: every byte brings the end nearer, so a peer that sends for ever cannot be.
  webSocket.on("ping", () => fail("BAD_PEER", "a ping came"));
  webSocket.on("pong", () => fail("BAD_PEER", "a pong came"));
  webSocket.on("error", (error) => fail(isFramingError(error) ? "BAD_PEER" : "LINK_LOST", error.message));
  webSocket.on("close", (code) => {
    const progress = `closed with code ${code} after ${received} of ${totalBytes} bytes`;
    if (code !== orderlyCode) fail("LINK_LOST", progress);
    else if (about.length === 0 || received < totalBytes) fail("BAD_PEER", progress);
    else end(() => settle.resolve({ about, bytes }));
  });
}

/** The bytes of the part that must come now, or what is wrong with it. */
function parsePart(data: Uint8Array, options: FetchStateOptions, received: number): Uint8Array | string {
  const { generation, step, totalBytes } = options;
  let message: BulkMessage;
  try {
    message = parseBulk(data);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return `${error.code}: ${error.message}`;
  }
  if (message.kind !== "state" || message.generation !== generation || message.step !== step)
    return `expected the state of generation ${generation}, step ${step}, found a ${message.kind} of generation ${message.generation}${message.kind === "state" ? `, step ${message.step}` : ""}`;
  const { byteOffset, payload } = message;
  if (byteOffset !== received || payload.length === 0 || received + payload.length > totalBytes)
    return `expected some of the ${totalBytes - received} bytes from offset ${received} on, found ${payload.length} from ${byteOffset} on`;
  return payload;
}
