/** One line of what `doctor` says. */
export interface Finding {
  readonly what: string;
  readonly found: string;
  /** What to do about it, where there is something to do. */
  readonly next?: string;
  /** Training cannot start as long as this is so. */
  readonly blocks?: true;
}

export const describeFinding = ({ what, found, next }: Finding): string =>
  `${what.padEnd(14)} ${found}\n${next === undefined ? "" : `${" ".repeat(15)}-> ${next}\n`}`;

export const canTrain = (findings: readonly Finding[]): boolean => findings.every(({ blocks }) => blocks !== true);
