import { createHmac, hkdfSync } from "node:crypto";
import fc from "fast-check";
import t from "tap";
import { type Link, linkProof, tokensEqual, verifyLinkProof } from "../src/index.ts";
import { refusal } from "./fixtures/refusal.ts";

const link: Link = { run: "cifar", generation: 3, from: 0, to: 1 };

t.test("a proof is HMAC-SHA256 under a derived key", async (t) => {
  const key = Buffer.from(hkdfSync("sha256", "token", "", "ringmaster link proof 1", 32));
  t.equal(linkProof("token", link), createHmac("sha256", key).update('["cifar",3,0,1]').digest("hex"));
});

t.test("a proof holds for its own link and secret only", async (t) => {
  const proof = linkProof("token", link);
  t.equal(verifyLinkProof("token", link, proof), true);
  const others: [name: string, secret: string, link: Link, proof: string][] = [
    ["another secret", "Token", link, proof],
    ["no secret", "", link, proof],
    ["another run", "token", { ...link, run: "mnist" }, proof],
    ["an older generation", "token", { ...link, generation: 2 }, proof],
    ["the other direction", "token", { ...link, from: 1, to: 0 }, proof],
    ["a generation that is no number", "token", { ...link, generation: Number.NaN }, proof],
    ["upper case", "token", link, proof.toUpperCase()],
    ["a part", "token", link, proof.slice(0, 63)],
    ["more", "token", link, `${proof}0`],
    ["nothing", "token", link, ""],
    ["no hex", "token", link, "é".repeat(64)],
  ];
  for (const [name, ...args] of others) t.equal(verifyLinkProof(...args), false, name);
});

t.test("different links have different proofs", async (t) => {
  const small = fc.nat({ max: 12 });
  const anyLink = fc.record({
    run: fc.string({ unit: fc.constantFrom(...'ab1,"]'), maxLength: 4 }),
    generation: small,
    from: small,
    to: small,
  });
  fc.assert(
    fc.property(anyLink, anyLink, (a, b) => {
      const same = JSON.stringify(Object.values(a)) === JSON.stringify(Object.values(b));
      return (linkProof("token", a) === linkProof("token", b)) === same;
    }),
    { numRuns: 500 },
  );
  t.pass();
});

t.test("nothing is proven without a secret or about a link that cannot be", async (t) => {
  t.equal(refusal(() => linkProof("", link)).code, "SECRET_MISSING");
  for (const bad of [Number.NaN, -1, 0.5])
    t.equal(refusal(() => linkProof("token", { ...link, from: bad })).code, "MESSAGE_INVALID");
});

t.test("tokens are equal where they are the same, and an empty one never is", async (t) => {
  fc.assert(
    fc.property(
      fc.string({ minLength: 1 }),
      fc.string(),
      (a, b) => tokensEqual(a, a) && tokensEqual(a, b) === (a === b),
    ),
  );
  t.equal(tokensEqual("", ""), false);
  t.equal(tokensEqual("token", "token\0"), false);
});
