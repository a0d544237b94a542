/** Dials a peer's listener, again and again until it expects this link: ranks enter a generation at different moments. */
import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { WebSocket } from "ws";
import { CollectiveError } from "./collective-error.ts";
import { authorization, type LinkEnds, type LinkPath, linkUrl } from "./link-address.ts";

export interface DialOptions<T> {
  readonly host: string;
  readonly port: number;
  readonly path: LinkPath;
  readonly link: LinkEnds;
  readonly secret: string;
  readonly run: string;
  /** The largest message that the peer may send; a larger one is refused before it is buffered. */
  readonly maxMessageBytes: number;
  /** Called when the link stands and before it delivers anything. */
  opened(webSocket: WebSocket, socket: Socket): T;
}

type Outcome<T> = { readonly opened: T } | { readonly failure: string; readonly isFinal: boolean };

const retryMs = 50;

/**
 * @returns what `opened` made of the link
 * @throws CollectiveError `LINK_REFUSED` (wrong secret or run), `LINK_TIMEOUT` once the signal is aborted
 */
export async function dial<T>(options: DialOptions<T>, signal: AbortSignal): Promise<T> {
  const { host, port, path, link } = options;
  const who = path === "/ring" ? "rank" : "member";
  const whom = `${who} ${link.from} at ${host}:${port}`;
  let failure = "not tried";
  while (!signal.aborted) {
    const outcome = await attempt(options, signal);
    if ("opened" in outcome) return outcome.opened;
    failure = outcome.failure;
    if (outcome.isFinal)
      throw new CollectiveError("LINK_REFUSED", `${whom} refused ${who} ${link.to}: ${failure}`, {
        peerRank: link.from,
      });
    await delay(retryMs, undefined, { signal }).catch(() => {});
  }
  throw new CollectiveError(
    "LINK_TIMEOUT",
    `${who} ${link.to} could not dial ${whom} in time; the last attempt: ${failure}`,
    { peerRank: link.from },
  );
}

function attempt<T>(options: DialOptions<T>, signal: AbortSignal): Promise<Outcome<T>> {
  const { host, port, path, link, secret, run, maxMessageBytes, opened } = options;
  return new Promise((resolve) => {
    const webSocket = new WebSocket(linkUrl(host, port, path, link), {
      headers: { authorization: authorization(secret, run, path, link) },
      perMessageDeflate: false,
      maxPayload: maxMessageBytes,
      maxFragments: 64,
    });
    const settle = (outcome: Outcome<T>) => {
      signal.removeEventListener("abort", stop);
      resolve(outcome);
    };
    const stop = () => {
      settle({ failure: "no answer yet", isFinal: false });
      webSocket.terminate();
    };
    signal.addEventListener("abort", stop, { once: true });
    webSocket.on("error", (error) => settle({ failure: error.message, isFinal: false }));
    webSocket.on("unexpected-response", (request, response) => {
      request.destroy();
      const status = response.statusCode ?? 0;
      settle({ failure: `HTTP ${status} ${response.statusMessage ?? ""}`, isFinal: status === 401 });
    });
    webSocket.once("upgrade", ({ socket }) =>
      webSocket.once("open", () => settle({ opened: opened(webSocket, socket) })),
    );
  });
}
