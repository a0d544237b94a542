/** A child's side of the channel to its supervisor. Without a supervisor the process listens to signals itself. */
import { createSignalCount, describeStop } from "./signals.ts";

/** Child to supervisor. */
export type SupervisedMessage = { readonly type: "listening"; readonly url: string; readonly logFile: string };

/** Supervisor to child. */
export type SupervisorMessage = { readonly type: "stop"; readonly reason: string };

export interface Shutdown {
  /** Asked to stop in order. */
  readonly stop: AbortSignal;
  /** The supervisor is gone, if there was one. */
  readonly orphaned: AbortSignal;
  /** Whether a supervisor started this process. */
  readonly isSupervised: boolean;
  tell(message: SupervisedMessage): void;
  /** Ends listening, so that the process may exit. */
  release(): void;
}

/**
 * Where this process hears that it should stop: from its supervisor alone where it has one (signals reach the whole group), else from SIGINT and
 * SIGTERM; a second signal exits at once with 130.
 */
export function listenForShutdown(): Shutdown {
  const stop = new AbortController();
  const orphaned = new AbortController();
  const isSupervised = process.send !== undefined;
  const onMessage = (message: SupervisorMessage) => {
    if (message.type === "stop") stop.abort(message.reason);
  };
  const onDisconnect = () => orphaned.abort("the supervisor is gone");
  const ignore = () => {};
  const count = createSignalCount();
  const onSignal = (signal: NodeJS.Signals) => {
    const times = count();
    if (times > 1) process.exit(130);
    if (times === 1) stop.abort(describeStop(signal));
  };
  if (isSupervised) {
    process.on("message", onMessage);
    process.on("disconnect", onDisconnect);
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, ignore);
    // It may have gone while this process was starting.
    if (!process.connected) onDisconnect();
  } else {
    process.on("SIGINT", onSignal);
    process.on("SIGTERM", onSignal);
  }
  return {
    stop: stop.signal,
    orphaned: orphaned.signal,
    isSupervised,
    tell: (message) => process.send?.(message),
    release() {
      process.off("message", onMessage);
      process.off("disconnect", onDisconnect);
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, ignore).off(signal, onSignal);
      if (isSupervised && process.connected) process.disconnect();
    },
  };
}
