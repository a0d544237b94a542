/** A child's side of the channel to its supervisor. Without a supervisor the process listens to signals itself. */
import { createSignalCount, describeStop } from "./signals.ts";

/** Child to supervisor: a coordinator listens, a worker was admitted and is prepared. */
export type SupervisedMessage =
  | { readonly type: "listening"; readonly url: string; readonly logFile: string }
  | { readonly type: "joined" };

/** Supervisor to child. */
export type SupervisorMessage = { readonly type: "stop"; readonly reason: string };

export interface Shutdown {
  /** Asked to stop in order, by a signal or by the supervisor. */
  readonly stop: AbortSignal;
  /** By the supervisor: of a worker's run, that it is over. */
  readonly toldToStop: AbortSignal;
  /** A second signal, where the caller takes it: to end at once, but not without a word to others. A third one exits. */
  readonly hurry: AbortSignal;
  /** The supervisor is gone, if there was one. */
  readonly orphaned: AbortSignal;
  /** Whether a supervisor started this process. */
  readonly isSupervised: boolean;
  tell(message: SupervisedMessage): void;
  /** Ends listening, so that the process may exit. */
  release(): void;
}

/**
 * Where this process hears that it should stop. With a supervisor: from it, and by SIGTERM, which asks a worker to leave and a coordinator to stop the run; a
 * second one exits at once with 143. Ctrl-C reaches the whole group and is the supervisor's to judge. Without one: by SIGINT or SIGTERM; a second signal exits
 * at once with 130.
 */
export function listenForShutdown({ takesHurry = false } = {}): Shutdown {
  const signalled = new AbortController();
  const told = new AbortController();
  const hurried = new AbortController();
  const orphaned = new AbortController();
  const isSupervised = process.send !== undefined;
  const onMessage = (message: SupervisorMessage) => {
    if (message.type === "stop") told.abort(message.reason);
  };
  const onDisconnect = () => orphaned.abort("the supervisor is gone");
  const ignore = () => {};
  const count = createSignalCount();
  const onSignal = (signal: NodeJS.Signals) => {
    const times = count();
    if (times === 2 && takesHurry && !isSupervised) return hurried.abort(describeStop(signal));
    if (times > 1) process.exit(isSupervised ? 143 : 130);
    if (times === 1) signalled.abort(describeStop(signal));
  };
  const onInterrupt = isSupervised ? ignore : onSignal;
  process.on("SIGINT", onInterrupt).on("SIGTERM", onSignal);
  if (isSupervised) {
    process.on("message", onMessage);
    process.on("disconnect", onDisconnect);
    // It may have gone while this process was starting.
    if (!process.connected) onDisconnect();
  }
  return {
    stop: AbortSignal.any([signalled.signal, told.signal]),
    toldToStop: told.signal,
    hurry: hurried.signal,
    orphaned: orphaned.signal,
    isSupervised,
    // A supervisor that is just dying does not hear it.
    tell: (message) => process.send?.(message, undefined, undefined, () => {}),
    release() {
      process.off("message", onMessage);
      process.off("disconnect", onDisconnect);
      process.off("SIGINT", onInterrupt).off("SIGTERM", onSignal);
      if (isSupervised && process.connected) process.disconnect();
    },
  };
}
