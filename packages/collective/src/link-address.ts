/** How a link's handshake names the link and proves that it belongs to the run: `/ring?generation=G&from=F&to=T` and a header. */
import type { IncomingMessage } from "node:http";
import type { LinkEnds } from "./link.ts";

const scheme = "Ringmaster ";

export function linkUrl(host: string, port: number, { generation, from, to }: LinkEnds): string {
  const name = host.includes(":") ? `[${host}]` : host; // IPv6
  return `ws://${name}:${port}/ring?generation=${generation}&from=${from}&to=${to}`;
}

/** The value of the `authorization` header. */
export function authorization(proof: string): string {
  return scheme + proof;
}

/** The link that a handshake asks for, or undefined where it asks for something else. */
export function parseLinkRequest(request: IncomingMessage): { link: LinkEnds; proof: string } | undefined {
  const [path, query] = (request.url ?? "").split("?", 2);
  if (path !== "/ring" || query === undefined) return undefined;
  const fields = new URLSearchParams(query);
  const [generation, from, to] = ["generation", "from", "to"].map((name) => wholeNumber(fields.get(name)));
  if (generation === undefined || from === undefined || to === undefined) return undefined;
  const header = request.headers.authorization ?? "";
  return { link: { generation, from, to }, proof: header.startsWith(scheme) ? header.slice(scheme.length) : "" };
}

function wholeNumber(text: string | null): number | undefined {
  return text !== null && /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}
