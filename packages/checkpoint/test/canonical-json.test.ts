import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { canonicalJson } from "../src/index.ts";

t.test("keys are sorted, lines indented by two, the end is a newline", async (t) => {
  t.equal(
    canonicalJson({ b: [1, { d: null, c: "ü" }], a: {}, "10": [], "9": true, gone: undefined }),
    '{\n  "10": [],\n  "9": true,\n  "a": {},\n  "b": [\n    1,\n    {\n      "c": "ü",\n      "d": null\n    }\n  ]\n}\n',
  );
});

t.test("any JSON value reads back as it was, and its text does not depend on the order of its keys", async (t) => {
  const reversed = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(reversed);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([key, item]) => [key, reversed(item)]),
    );
  };
  const json = fc.jsonValue().filter((value) => !JSON.stringify(value).includes("__proto__"));
  fc.assert(
    fc.property(json, (value) => {
      const text = canonicalJson(value);
      assert.deepStrictEqual(JSON.parse(text), value);
      assert.equal(canonicalJson(reversed(value)), text);
    }),
    { numRuns: 200 },
  );
  t.ok(Object.is(JSON.parse(canonicalJson(-0)), -0), "the sign of zero stays");
});

t.test("what JSON cannot carry exactly is refused, and the place named", async (t) => {
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  const cases: [what: string, value: unknown, place: string][] = [
    ["NaN", { a: { b: [0, Number.NaN] } }, "$.a.b[1]"],
    ["Infinity", [Infinity], "$[0]"],
    ["undefined in an array", [undefined], "$[0]"],
    ["a hole", new Array(1), "$[0]"],
    ["undefined", undefined, "$"],
    ["a bigint", { a: 1n }, "$.a"],
    ["a function", { a: () => 1 }, "$.a"],
    ["a date", { a: new Date(0) }, "$.a"],
    ["a typed array", { a: new Float32Array(1) }, "$.a"],
    ["a map", { a: new Map() }, "$.a"],
    ["a key __proto__", JSON.parse('{"a": {"__proto__": 1}}'), "$.a"],
    ["a cycle", cycle, "$.self"],
  ];
  for (const [what, value, place] of cases) {
    t.throws(() => canonicalJson(value), { code: "JSON_INVALID", message: `at ${place}` }, what);
  }
});
