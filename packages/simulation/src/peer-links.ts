/**
 * Where a simulated worker's peers reach it, and how it reaches them: the two links of its ring, and copies of its state. As packages/collective does it: a rank
 * dials the one before it until that one expects it; a dial of a generation to come waits a while.
 */
import type { PeerState } from "@ringmaster/protocol";
import type { HistoryMessage } from "@ringmaster/worker";
import type { RingMessage } from "./event-ring.ts";
import type { OfferedState, PeerRequest } from "./messages.ts";
import type { DialIn, End, Network } from "./network.ts";
import type { Process } from "./process.ts";

export type PeerTraffic = RingMessage | OfferedState;

export interface PeerLinksOptions {
  readonly process: Process;
  readonly network: Network;
  readonly address: string;
  readonly stateBytes: number;
}

interface Offer {
  readonly peer: PeerState;
  readonly history: readonly HistoryMessage[];
  readonly state: () => number;
}

export interface RingEnds {
  readonly generation: number;
  readonly rank: number;
  readonly world: number;
  readonly previousAddress: string;
  readonly stood: (side: "previous" | "next", end: End<RingMessage>) => void;
  readonly done: (failure: { readonly side: "previous" | "next"; readonly message: string } | null) => void;
}

const connectTimeoutMs = 10_000;
const earlyMs = 2000;
const retryMs = 50;
const ringKeepAliveMs = 4000;
const copyStallMs = 5000;

export class PeerLinks {
  readonly #options: PeerLinksOptions;
  readonly #expected = new Map<string, (end: End<PeerTraffic>) => void>();
  readonly #early = new Map<string, DialIn<PeerTraffic>>();
  #newest = -1;
  #offer: Offer | undefined;
  readonly #transfers = new Set<End<PeerTraffic>>();
  /** What is under way for a generation; another number, and it does not count any more. */
  #attempt = 0;

  constructor(options: PeerLinksOptions) {
    this.#options = options;
    const { network, process, address } = options;
    network.listen<PeerRequest, PeerTraffic>(process, address, (request, dial) => this.#dialled(request, dial));
  }

  /** Gives up what is under way. */
  cancel(): void {
    this.#attempt++;
    this.#expected.clear();
  }

  offer(offer: Offer | undefined): void {
    this.#offer = offer;
    for (const end of this.#transfers) end.close("the offer is withdrawn");
    this.#transfers.clear();
  }

  openRing({ generation, rank, world, previousAddress, stood, done }: RingEnds): void {
    const { process } = this.#options;
    const attempt = ++this.#attempt;
    const open = new Set<"previous" | "next">();
    let isOver = false;
    const end = (failure: Parameters<RingEnds["done"]>[0]) => {
      if (isOver || attempt !== this.#attempt) return;
      isOver = true;
      this.#expected.clear();
      done(failure);
    };
    const standing = (side: "previous" | "next", link: End<PeerTraffic>) => {
      if (isOver || attempt !== this.#attempt) return link.close("cut");
      open.add(side);
      // Only messages of the ring come over this link.
      stood(side, link as unknown as End<RingMessage>);
      if (open.size === 2) end(null);
    };
    const previous = (rank + world - 1) % world;
    const next = (rank + 1) % world;
    this.#newest = Math.max(this.#newest, generation);
    const key = keyOf(generation, rank, next);
    this.#expected.set(key, (link) => standing("next", link));
    const early = this.#early.get(key);
    if (early) {
      this.#early.delete(key);
      this.#expected.delete(key);
      standing("next", early.accept());
    }
    this.#dial(previousAddress, { kind: "ring", generation, from: previous, to: rank }, ringKeepAliveMs, {
      isWanted: () => !isOver && attempt === this.#attempt,
      stood: (link) => standing("previous", link),
    });
    process.after(connectTimeoutMs, () =>
      end({ side: open.has("previous") ? "next" : "previous", message: "no link in time" }),
    );
  }

  /** Copies the state from the first of these that gives it. */
  copy(
    wanted: { readonly generation: number; readonly step: number; readonly stateId: string; readonly position: number },
    from: readonly { readonly position: number; readonly host: string; readonly port: number }[],
    done: (copied: OfferedState | null, lastAsked: number) => void,
  ): void {
    const attempt = ++this.#attempt;
    const { generation, step, stateId, position } = wanted;
    const first = Math.max(0, position) % from.length;
    const order = [...from.slice(first), ...from.slice(0, first)];
    const ask = (index: number) => {
      const holder = order[index];
      if (!holder) return done(null, order.at(-1)?.position ?? -1);
      let isOver = false;
      const over = (copied: OfferedState | null) => {
        if (isOver || attempt !== this.#attempt) return;
        isOver = true;
        if (copied) done(copied, holder.position);
        else ask(index + 1);
      };
      let isStanding = false;
      // Once the link stands, its keep-alive decides.
      this.#options.process.after(copyStallMs, () => {
        if (!isStanding) over(null);
      });
      const request = { kind: "state" as const, generation, from: holder.position, to: position, step };
      this.#dial(`${holder.host}:${holder.port}`, request, copyStallMs, {
        isWanted: () => !isOver && attempt === this.#attempt,
        stood: (link) => {
          isStanding = true;
          link.listen({
            message: (message) => {
              link.close("got it");
              const isWanted =
                message.type === "offered" &&
                message.peer.generation === generation &&
                message.peer.step === step &&
                message.peer.stateId === stateId;
              over(isWanted ? message : null);
            },
            closed: () => over(null),
          });
        },
      });
    };
    ask(0);
  }

  /** Again and again until the peer expects it. */
  #dial(
    address: string,
    request: PeerRequest,
    keepAliveMs: number,
    dialling: { readonly isWanted: () => boolean; readonly stood: (end: End<PeerTraffic>) => void },
  ): void {
    const { network, process } = this.#options;
    const { isWanted, stood } = dialling;
    if (!isWanted()) return;
    const dial = { from: process, address, request, timeoutMs: connectTimeoutMs, keepAliveMs };
    network.dial<PeerRequest, PeerTraffic>(dial, (end) => {
      if (!isWanted()) return end?.close("cut");
      if (end) return stood(end);
      process.after(retryMs, () => this.#dial(address, request, keepAliveMs, dialling));
    });
  }

  #dialled(request: PeerRequest, dial: DialIn<PeerTraffic>): void {
    const { generation, from, to } = request;
    if (request.kind === "state") {
      if (this.#offer?.peer.generation !== generation) return dial.refuse();
      return this.#serve(dial.accept(), this.#offer);
    }
    const key = keyOf(generation, from, to);
    const expected = this.#expected.get(key);
    if (expected) {
      this.#expected.delete(key);
      return expected(dial.accept());
    }
    if (generation <= this.#newest) return dial.refuse();
    this.#early.get(key)?.refuse();
    this.#early.set(key, dial);
    this.#options.process.after(earlyMs, () => {
      if (this.#early.get(key) !== dial) return;
      this.#early.delete(key);
      dial.refuse();
    });
  }

  #serve(end: End<PeerTraffic>, { peer, history, state }: Offer): void {
    this.#transfers.add(end);
    end.listen({ message: () => end.close("a receiver says nothing"), closed: () => this.#transfers.delete(end) });
    end.sendBulk(() => ({ type: "offered", peer, history, state: state() }), this.#options.stateBytes);
  }
}

const keyOf = (generation: number, from: number, to: number): string => `${generation}/${from}/${to}`;
