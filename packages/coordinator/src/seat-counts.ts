/** How many seats each member of a record has: counted once a record, as every rank's word of every step asks for it. */
import type { MembershipRecord } from "./membership.ts";

export class SeatCounts {
  #counted: { readonly record: MembershipRecord; readonly seats: ReadonlyMap<string, number> } | undefined;

  /** undefined: it is no member. */
  of(record: MembershipRecord | null, id: string): number | undefined {
    if (record === null) return undefined;
    if (this.#counted?.record !== record) {
      const seats = new Map(record.members.map((member) => [member, 0]));
      for (const rank of record.kind === "proceeding" ? record.seating : []) {
        const member = record.members[rank] ?? "";
        seats.set(member, (seats.get(member) ?? 0) + 1);
      }
      this.#counted = { record, seats };
    }
    return this.#counted.seats.get(id);
  }
}

/** Which seats a member has. */
export function seatsOf(record: MembershipRecord, id: string): number[] {
  if (record.kind !== "proceeding") return [];
  const rank = record.members.indexOf(id);
  return record.seating.flatMap((owner, seat) => (owner === rank ? [seat] : []));
}
