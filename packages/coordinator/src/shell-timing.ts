/** How the coordinator's shell keeps time, in ms; the simulation's shell keeps the same. */
export const shellTiming = {
  heartbeatMs: 250,
  tickMs: 50,
  /** How long workers may take to hang up after the run's end. */
  farewellMs: 2000,
  /** Between tries to write the journal to a disk that refuses. */
  journalRetryMs: 1000,
} as const;

/** Plans that one coordinator may number: two a minute for a month. */
export const mostPlans = 2 ** 16;
