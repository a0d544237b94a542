/** Signals within this time are one: a terminal sends Ctrl-C to a whole group, and npm passes its own on to its child. */
const sameMs = 300;

/** Counts how often a person asked to stop. @returns a function to call at each signal: which time this is, or 0 for an echo of the last. */
export function createSignalCount(now: () => number = () => performance.now()): () => number {
  let times = 0;
  let lastMs = Number.NEGATIVE_INFINITY;
  return () => {
    const isEcho = now() - lastMs < sameMs;
    lastMs = now();
    return isEcho ? 0 : ++times;
  };
}

export const describeStop = (signal: NodeJS.Signals): string =>
  signal === "SIGINT" ? "stopped by Ctrl-C" : `stopped by ${signal}`;
