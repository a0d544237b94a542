import { UsageError } from "../usage-error.ts";

/**
 * The works whose name contains `key`; all of them without one.
 * @throws UsageError BAD_OPTION, naming the works that there are, when none does
 */
export function chooseWorks<Work extends { readonly work: string }>(
  works: readonly Work[],
  key: string | undefined,
): readonly Work[] {
  const chosen = works.filter(({ work }) => key === undefined || work.includes(key));
  if (chosen.length > 0) return chosen;
  const names = works.map(({ work }) => work).join(", ");
  throw new UsageError("BAD_OPTION", `expected --work to be part of a work's name, found ${key}; there are: ${names}`);
}
