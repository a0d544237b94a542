/**
 * How a link's handshake names the link and proves that it belongs to the run: `/ring?generation=G&from=F&to=T` and a header.
 *
 * A path is a purpose: the proof of a ring's link does not open a state link, nor the other way round.
 */
import type { IncomingMessage } from "node:http";
import { linkProof, maxSeats, verifyLinkProof } from "@ringmaster/protocol";

/** Data flows from `from` to `to`: ranks of the generation's ring, or, on a state link, positions in its list of members. */
export interface LinkEnds {
  readonly generation: number;
  readonly from: number;
  readonly to: number;
}

/** What a link carries: sums round the ring, or a copy of the state. */
export type LinkPath = "/ring" | "/state";

const scheme = "Ringmaster ";

export function linkUrl(host: string, port: number, path: LinkPath, { generation, from, to }: LinkEnds): string {
  const name = host.includes(":") ? `[${host}]` : host; // IPv6
  return `ws://${name}:${port}${path}?generation=${generation}&from=${from}&to=${to}`;
}

/** The value of the `authorization` header. */
export function authorization(secret: string, run: string, path: LinkPath, link: LinkEnds): string {
  return scheme + linkProof(secret, subjectOf(run, path, link));
}

export interface LinkRequest {
  readonly path: LinkPath;
  readonly link: LinkEnds;
  readonly authorization: string;
}

/** The link that a handshake asks for, or undefined where it asks for something else. */
export function parseLinkRequest(request: IncomingMessage): LinkRequest | undefined {
  const [path, query] = (request.url ?? "").split("?", 2);
  if ((path !== "/ring" && path !== "/state") || query === undefined) return undefined;
  const fields = new URLSearchParams(query);
  const [generation, from, to] = ["generation", "from", "to"].map((name) => wholeNumber(fields.get(name)));
  if (generation === undefined || from === undefined || to === undefined) return undefined;
  if (from >= maxSeats || to >= maxSeats) return undefined;
  return { path, link: { generation, from, to }, authorization: request.headers.authorization ?? "" };
}

export function isProven(secret: string, run: string, { path, link, authorization }: LinkRequest): boolean {
  const proof = authorization.startsWith(scheme) ? authorization.slice(scheme.length) : "";
  return verifyLinkProof(secret, subjectOf(run, path, link), proof);
}

/** What is proven. */
function subjectOf(run: string, path: LinkPath, link: LinkEnds) {
  return { run: path === "/state" ? `${run} state` : run, ...link };
}

function wholeNumber(text: string | null): number | undefined {
  return text !== null && /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}
