/**
 * Proof that a link belongs to a run: HMAC-SHA256 over the link's own coordinates, with a key derived from the run's secret.
 *
 * The key is derived (HKDF, RFC 5869) so that the proof of a link can never serve as anything else that the secret may prove. The link is encoded as a JSON
 * array, in which no two different links look alike. A proof holds for one generation and one direction only.
 */
import { createHash, createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import { ProtocolError } from "./protocol-error.ts";

export interface Link {
  /** The run's name. */
  run: string;
  generation: number;
  /** The ranks that send and receive. */
  from: number;
  to: number;
}

const purpose = "ringmaster link proof 1";

/**
 * @param secret the run's token
 * @returns 64 lower-case hex digits
 * @throws ProtocolError SECRET_MISSING for an empty secret, MESSAGE_INVALID for a generation or rank that is not a whole number
 */
export function linkProof(secret: string, link: Link): string {
  if (secret === "") throw new ProtocolError("SECRET_MISSING", "link proof: expected the run's token, found nothing");
  const { run, generation, from, to } = link;
  for (const [field, value] of Object.entries({ generation, from, to })) {
    if (Number.isSafeInteger(value) && value >= 0) continue;
    throw new ProtocolError("MESSAGE_INVALID", `link proof: ${field}: expected a whole number, found ${value}`);
  }
  const key = Buffer.from(hkdfSync("sha256", secret, "", purpose, 32));
  return createHmac("sha256", key)
    .update(JSON.stringify([run, generation, from, to]))
    .digest("hex");
}

/** Whether `proof` is the link's, in a time that does not depend on where it differs. False for whatever is no proof at all. */
export function verifyLinkProof(secret: string, link: Link, proof: string): boolean {
  try {
    return tokensEqual(linkProof(secret, link), proof);
  } catch (error) {
    if (error instanceof ProtocolError) return false;
    throw error;
  }
}

/** Whether two tokens are the same, in a time that depends on their lengths alone. An empty token equals nothing, itself included. */
export function tokensEqual(a: string, b: string): boolean {
  const same = timingSafeEqual(digest(a), digest(b));
  return same && a.length > 0 && a.length === b.length;
}

const digest = (token: string) => createHash("sha256").update(token, "utf8").digest();
