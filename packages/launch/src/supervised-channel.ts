/** A child's side of the channel to its supervisor. Without a supervisor the process listens to signals itself. */

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
 * Where this process hears that it should stop: from its supervisor, else from SIGINT and SIGTERM; a second signal exits at once with 130. When the
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
  let signals = 0;
  const onSignal = (signal: NodeJS.Signals) => {
    if (++signals > 1) process.exit(130);
    stop.abort(signal === "SIGINT" ? "stopped by Ctrl-C" : `stopped by ${signal}`);
  };
  if (isSupervised) {
    process.on("message", onMessage);
    process.on("disconnect", onDisconnect);
    process.on("SIGINT", ignore);
    process.on("SIGTERM", onSignal);
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
      process.off("SIGINT", ignore);
      process.off("SIGINT", onSignal);
      process.off("SIGTERM", onSignal);
      if (isSupervised && process.connected) process.disconnect();
    },
  };
}
