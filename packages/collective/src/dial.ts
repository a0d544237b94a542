/** Dials the previous rank, again and again until it expects this link: ranks enter a generation at different moments. */
import { setTimeout as delay } from "node:timers/promises";
import { linkProof } from "@ringmaster/protocol";
import { WebSocket } from "ws";
import { CollectiveError } from "./collective-error.ts";
import { Link, type LinkEnds, type LinkHandlers } from "./link.ts";
import { authorization, linkUrl } from "./link-address.ts";

export interface DialOptions {
  readonly host: string;
  readonly port: number;
  readonly link: LinkEnds;
  readonly secret: string;
  readonly run: string;
  /** The largest message that the peer may send; a larger one is refused before it is buffered. */
  readonly maxMessageBytes: number;
  readonly handlers: LinkHandlers;
}

const retryMs = 50;

/** @throws CollectiveError `LINK_REFUSED` (wrong secret or run), `LINK_TIMEOUT` once the signal is aborted */
export async function dial(options: DialOptions, signal: AbortSignal): Promise<Link> {
  const { host, port, link } = options;
  let failure = "not tried";
  while (!signal.aborted) {
    const outcome = await attempt(options, signal);
    if (outcome instanceof Link) return outcome;
    failure = outcome.failure;
    if (outcome.isFinal)
      throw new CollectiveError(
        "LINK_REFUSED",
        `rank ${link.from} at ${host}:${port} refused rank ${link.to}: ${failure}`,
        {
          peerRank: link.from,
        },
      );
    await delay(retryMs, undefined, { signal }).catch(() => {});
  }
  throw new CollectiveError(
    "LINK_TIMEOUT",
    `rank ${link.to} could not dial rank ${link.from} at ${host}:${port} in time; the last attempt: ${failure}`,
    { peerRank: link.from },
  );
}

function attempt(options: DialOptions, signal: AbortSignal): Promise<Link | { failure: string; isFinal: boolean }> {
  const { host, port, link, secret, run, maxMessageBytes, handlers } = options;
  return new Promise((resolve) => {
    const webSocket = new WebSocket(linkUrl(host, port, link), {
      headers: { authorization: authorization(linkProof(secret, { run, ...link })) },
      perMessageDeflate: false,
      maxPayload: maxMessageBytes,
      maxFragments: 64,
    });
    const stop = () => webSocket.terminate(); // while connecting: emits an error
    const settle = (outcome: Link | { failure: string; isFinal: boolean }) => {
      signal.removeEventListener("abort", stop);
      resolve(outcome);
    };
    signal.addEventListener("abort", stop, { once: true });
    webSocket.on("error", (error) => settle({ failure: error.message, isFinal: false }));
    webSocket.on("unexpected-response", (request, response) => {
      request.destroy();
      const status = response.statusCode ?? 0;
      settle({ failure: `HTTP ${status} ${response.statusMessage ?? ""}`, isFinal: status === 401 });
    });
    webSocket.once("open", () => settle(new Link(webSocket, handlers)));
  });
}
