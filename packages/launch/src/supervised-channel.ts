/** A child's side of the channel to its supervisor. Without a supervisor the process listens to signals itself. */
import { createSignalCount, describeStop } from "./signals.ts";

/** Child to supervisor. */
export type SupervisedMessage = { readonly type: "listening"; readonly url: string; readonly logFile: string };

/** Supervisor to child. */
export type SupervisorMessage = { readonly type: "stop"; readonly reason: string };

export interface Shutdown {
  /** Asked to stop in order. */
  readonly stop: AbortSignal;
  /** Whether a supervisor started this process. */
  readonly isSupervised: boolean;
  tell(message: SupervisedMessage): void;
  /** Ends listening, so that the process may exit. */
  release(): void;
}

/** How long a worker without a supervisor waits for its coordinator to end the run in order. */
const orphanMs = 4000;

/**
 * Where this process hears that it should stop: from its supervisor alone where it has one (signals reach the whole group), else from SIGINT and SIGTERM; a second signal exits at once with 130. When the
 * supervisor is gone, a coordinator stops its run, and a worker waits a little for that and then exits.
 */
export function listenForShutdown(role: "coordinator" | "worker"): Shutdown {
  const stop = new AbortController();
  const isSupervised = process.send !== undefined;
  const onMessage = (message: SupervisorMessage) => {
    if (message.type === "stop") stop.abort(message.reason);
  };
  const onDisconnect = () => {
    if (role === "coordinator") stop.abort("the supervisor is gone");
    else setTimeout(() => process.exit(1), orphanMs).unref();
  };
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
