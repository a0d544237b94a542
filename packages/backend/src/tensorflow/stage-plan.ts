/**
 * How a recorded execution is cut into stages, as data.
 *
 * Each stage computes what its outputs need and no stage before it has computed; so a stage's outputs are there as early as its ops allow. A value
 * that a later stage reads stays on the device and is an output of the one and an input of the other; or else, where its op says so, the later stage
 * computes it again.
 */
export interface RecordedOp {
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

export interface Stage<Op extends RecordedOp> {
  /** In the order of execution. */
  readonly ops: readonly Op[];
  /** Ids that come from outside: fed, or computed by a stage before this one. */
  readonly inputs: readonly number[];
  /** Ids that leave it: results, and what later stages read. */
  readonly outputs: readonly number[];
  /** Ids of earlier stages and of this one that nobody reads after it. */
  readonly releases: readonly number[];
}

export interface StageOptions<Op extends RecordedOp> {
  readonly ops: readonly Op[];
  /** Ids that are given at each call; ids that are neither fed nor computed are constants. */
  readonly fed: readonly number[];
  /** For each stage, the ids that it hands over. */
  readonly results: readonly (readonly number[])[];
  /** Whether a later stage that reads the op's outputs computes them again. */
  readonly isRepeated: (op: Op) => boolean;
}

export function planStages<Op extends RecordedOp>({ ops, fed, results, isRepeated }: StageOptions<Op>): Stage<Op>[] {
  const isFed = new Set(fed);
  /** The first stage that computes an id. */
  const producedIn = new Map<number, number>();
  const backwards = [...ops].reverse();
  const own = results.map((ids, stage) => {
    const needed = new Set(ids);
    const mine = backwards.filter((op) => {
      const isNeeded = op.outputs.some((id) => needed.has(id));
      const isThere = op.outputs.some((id) => producedIn.has(id)) && !isRepeated(op);
      if (!isNeeded || isThere) return false;
      for (const id of op.inputs) needed.add(id);
      return true;
    });
    for (const id of mine.flatMap(({ outputs }) => outputs)) if (!producedIn.has(id)) producedIn.set(id, stage);
    return mine.reverse();
  });

  const made = own.map((mine) => new Set(mine.flatMap(({ outputs }) => outputs)));
  const operands = own.map((mine) => new Set(mine.flatMap(({ inputs }) => inputs)));
  /** What a stage reads and does not make: of its ops' operands and of its results. */
  const taken = results.map((ids, stage) =>
    [...new Set([...(operands[stage] ?? []), ...ids])].filter((id) => !made[stage]?.has(id)),
  );
  const lastTaken = new Map<number, number>();
  taken.forEach((ids, stage) => {
    for (const id of ids) if (producedIn.has(id)) lastTaken.set(id, stage);
  });

  return results.map((ids, stage) => {
    const isComputed = (id: number) => (producedIn.get(id) ?? stage) < stage;
    const inputs = (taken[stage] ?? []).filter((id) => operands[stage]?.has(id) && (isFed.has(id) || isComputed(id)));
    const constants = ids.filter((id) => !isFed.has(id) && !producedIn.has(id));
    const crossing = [...(made[stage] ?? [])].filter(
      (id) => producedIn.get(id) === stage && (lastTaken.get(id) ?? -1) > stage,
    );
    const outputs = [...new Set([...ids.filter((id) => made[stage]?.has(id)), ...constants, ...crossing])];
    const releases = [
      ...outputs.filter((id) => (lastTaken.get(id) ?? -1) <= stage),
      ...(taken[stage] ?? []).filter((id) => isComputed(id) && lastTaken.get(id) === stage),
    ];
    return { ops: own[stage] ?? [], inputs, outputs, releases };
  });
}
