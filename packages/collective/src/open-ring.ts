/** Links a rank with its two neighbours. */
import { CollectiveError } from "./collective-error.ts";
import { dial } from "./dial.ts";
import type { KeepAlive } from "./keep-alive.ts";
import { Link } from "./link.ts";
import type { RingListener } from "./ring-listener.ts";
import { maxRingMessageBytes, RankTransport, type RingTransport, type RingTransportOptions } from "./ring-transport.ts";
import { nextRank, previousRank, worldSize } from "./schedule.ts";

/** Where a rank listens for its next rank. */
export interface RingPeer {
  readonly rank: number;
  readonly host: string;
  readonly port: number;
}

export interface OpenRingOptions extends RingTransportOptions {
  /** The run's name and secret, from which links are proven. */
  readonly run: string;
  readonly secret: string;
  /** The ranks of the world; the previous one is dialled. */
  readonly peers: readonly RingPeer[];
  /** Where this rank's next rank dials in; a world of one needs none. Stays open when the ring is closed. */
  readonly listener?: RingListener;
  /** How long both links may take to stand. Default 10,000. */
  readonly connectTimeoutMs?: number;
  /** Gives up early; the ring is then rejected with the signal's reason. */
  readonly signal?: AbortSignal;
  /** When a silent neighbour counts as lost. Default: pings each second, lost after 4 s in which nothing at all was heard. */
  readonly keepAlive?: KeepAlive;
}

/**
 * Opens a generation's ring: dials the previous rank, waits for the next rank's dial, and is then ready for round 0.
 * @throws CollectiveError `LINK_REFUSED`, `LINK_TIMEOUT`, `LINK_LOST` or `BAD_PEER` with `peerRank`; `BAD_SEATING`, `BAD_LAYOUT`, `MISUSE`,
 * `KERNELS_MISSING`. Nothing is left behind then.
 */
export async function openRing(options: OpenRingOptions): Promise<RingTransport> {
  let fault: CollectiveError | undefined;
  let isOpen = false;
  const opening = new AbortController();
  const transport = new RankTransport({
    ...options,
    onFault(error, peerRank) {
      if (isOpen) return options.onFault(error, peerRank);
      fault = error;
      opening.abort();
    },
  });
  const giveUp = () => opening.abort();
  const timer = setTimeout(giveUp, options.connectTimeoutMs ?? 10_000);
  options.signal?.addEventListener("abort", giveUp, { once: true });
  try {
    options.signal?.throwIfAborted();
    if (worldSize(options.seating) > 1) await linkWithNeighbours(options, transport, opening);
    if (fault) throw fault;
    options.signal?.throwIfAborted(); // aborted in the moment in which the last link stood
    isOpen = true;
    return transport;
  } catch (error) {
    transport.cut();
    options.signal?.throwIfAborted();
    throw fault ?? error;
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", giveUp);
  }
}

async function linkWithNeighbours(options: OpenRingOptions, transport: RankTransport, opening: AbortController) {
  const { rank, seating, generation, secret, run, listener, keepAlive } = options;
  const world = worldSize(seating);
  const previous = previousRank(rank, world);
  const peer = options.peers.find((candidate) => candidate.rank === previous);
  if (peer === undefined || listener === undefined)
    throw new CollectiveError("MISUSE", `rank ${rank} needs a listener and the address of rank ${previous}`);
  const incoming = dial(
    {
      host: peer.host,
      port: peer.port,
      path: "/ring",
      link: { generation, from: previous, to: rank },
      secret,
      run,
      maxMessageBytes: maxRingMessageBytes(options.segmentFloats),
      opened: (webSocket, socket) => new Link(webSocket, socket, transport.incomingHandlers, keepAlive),
    },
    opening.signal,
  );
  const outgoing = listener.accept(
    { generation, from: rank, to: nextRank(rank, world) },
    transport.outgoingHandlers,
    opening.signal,
    keepAlive,
  );
  // Whichever fails first ends the other one. A link that stands by then is known to the transport, which is cut.
  const halves = [
    incoming.then((link) => transport.connectIncoming(link)),
    outgoing.then((link) => transport.connectOutgoing(link)),
  ];
  for (const half of halves) half.catch(() => opening.abort());
  const results = await Promise.allSettled(halves);
  const failures = results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
  if (failures.length > 0) throw firstCause(failures);
}

/** Where one half was refused, the other one only timed out because of that. */
function firstCause(failures: readonly unknown[]): unknown {
  return failures.find((error) => error instanceof CollectiveError && error.code !== "LINK_TIMEOUT") ?? failures[0];
}
