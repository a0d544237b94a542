/** Peers that mean no good. Each call says how the coordinator got rid of them. */
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { WebSocket } from "ws";
import { within } from "./waiting.ts";

export interface Door {
  /** ws://host:port */
  readonly url: string;
  readonly token: string;
}

const patienceMs = 20_000;

/** Writes bytes to the bare socket. @returns what came back before it was closed. */
export function writeRaw({ url }: Door, bytes: Uint8Array | string): Promise<string> {
  const { hostname, port } = new URL(url);
  const answer = new Promise<string>((resolve) => {
    let text = "";
    const socket = connect(Number(port), hostname, () => socket.end(bytes));
    socket.on("data", (data) => {
      text += data.toString("latin1");
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(text));
  });
  return within(patienceMs, "the end of a bare connection", answer);
}

/** @returns the HTTP status with which a WebSocket was refused. */
export function knock({ url }: Door, token: string | undefined, path = "/worker"): Promise<number | undefined> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const socket = new WebSocket(`${url}${path}`, { headers });
  const status = new Promise<number | undefined>((resolve, reject) => {
    socket.on("open", () => reject(new Error("it was let in")));
    socket.on("unexpected-response", (_request, response) => {
      resolve(response.statusCode);
      socket.terminate();
    });
    socket.on("error", reject);
  });
  return within(patienceMs, "a refusal", status);
}

/** Knows the token, says something, and waits to be thrown out. @returns the close frame's code and reason. */
export function sayInside({ url, token }: Door, message: Uint8Array | string): Promise<string> {
  const socket = new WebSocket(`${url}/worker`, { headers: { authorization: `Bearer ${token}` } });
  const closed = new Promise<string>((resolve, reject) => {
    socket.on("open", () => socket.send(message));
    socket.on("unexpected-response", (_request, response) => reject(new Error(`refused: ${response.statusCode}`)));
    // The connection may be reset while a large message is under way.
    socket.on("error", () => {});
    socket.on("close", (code, reason) => resolve(`${code} ${reason}`));
  });
  return within(patienceMs, "being thrown out", closed);
}

/** A connection that is opened and then left alone. */
export function holdOpen({ url }: Door): { close(): void } {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname, () => socket.write("GET /worker HTTP/1.1\r\nhost: x\r\n"));
  socket.on("error", () => {});
  return { close: () => socket.destroy() };
}

export const noise = (bytes: number): Uint8Array => randomBytes(bytes);
