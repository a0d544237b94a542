/**
 * Finds peers that are gone although their connection is not: a pulled cable, a stopped process, a machine that vanished send no FIN.
 *
 * Both ends of a ring's link ping, so what an end hears does not wait behind the bulk that it sends itself. Bytes are looked at where they
 * leave the kernel (`bytesRead`): any byte is a sign of life, a segment half received too, and looking costs nothing while data flows.
 */
import type { Socket } from "node:net";

export interface KeepAlive {
  /** How often an end pings. */
  readonly pingMs: number;
  /** How long an end may hear nothing at all. */
  readonly silenceMs: number;
}

export const defaultKeepAlive: KeepAlive = { pingMs: 1000, silenceMs: 4000 };

/** A timer later than this: this process itself was stopped or starved, and what came meanwhile is still unread. */
const maxLateMs = 1000;
/** A silence is found at most this part of it too late. */
const looksPerSilence = 16;

/** Tells `silent` once when nothing was heard on the socket for `silenceMs`. Returns what ends the watch. */
export function watchSilence(socket: Socket, silenceMs: number, silent: (silentMs: number) => void): () => void {
  const everyMs = silenceMs / looksPerSilence;
  let bytesRead = socket.bytesRead;
  let heardMs = performance.now();
  let lookedMs = heardMs;
  const timer = setInterval(() => {
    const nowMs = performance.now();
    const lateMs = nowMs - lookedMs - everyMs;
    lookedMs = nowMs;
    if (lateMs > maxLateMs || socket.bytesRead !== bytesRead) {
      bytesRead = socket.bytesRead;
      heardMs = nowMs;
    } else if (nowMs - heardMs >= silenceMs) {
      clearInterval(timer);
      silent(Math.round(nowMs - heardMs));
    }
  }, everyMs);
  return () => clearInterval(timer);
}
