import t from "tap";
import { rowOfTap } from "./checks.mjs";
import { NxOutput } from "./nx-output.mjs";
import { summarise } from "./summary.mjs";
import { TapOutput } from "./tap-output.mjs";

const readTap = (text) => {
  const tap = new TapOutput();
  for (const line of text.split("\n")) tap.read(line);
  return tap;
};

/** As tap 21 prints it. */
const mixedRun = `TAP version 14
1..1
# Subtest: test/a.test.ts
    # Subtest: sums
        not ok 1 - one is two
          ---
          compare: ===
          source: |
            not ok 7 - is text of a source
          diff: |
            --- expected
          ...

        ok 2 - should be equal
        1..2
    not ok 1 - sums # time=12.188ms
      ---
      at:
        lineNumber: 2
      ...

    ok 2 - files # SKIP NOT TESTED, they are not here
    ok 3 - more # TODO later
    # Subtest: nested
        # Subtest: deeper
            not ok 1 - should be equivalent
              ---
              diff: |
                +++ actual
              ...
            not ok 2 - known # SKIP no
    # { total: 99, pass: 99 }
            1..2
        not ok 1 - deeper # time=6.229ms
        not ok 2 - boom
          ---
          stack: |
            a stack
          ...
        1..2
    not ok 4 - nested # time=12.093ms
    1..4
not ok 1 - test/a.test.ts # time=31.34ms
  ---
  exitCode: 1
  ...

# No coverage generated
# { total: 8, pass: 1, fail: 3, todo: 1, skip: 3 }
# time=711.552ms`;

t.test("a run's counts are those of its last lines, not what a test prints", async (t) => {
  t.same(readTap(mixedRun).counts, { passed: 1, failed: 3, skipped: 4 });
  t.same(readTap("# { total: 306, pass: 306 }").counts, { passed: 306, failed: 0, skipped: 0 });
});

t.test("several runs in a row add up", async (t) => {
  t.same(readTap(`${mixedRun}\n${mixedRun}`).counts, { passed: 2, failed: 6, skipped: 8 });
});

t.test("a run that died has no counts", async (t) => {
  t.equal(readTap("TAP version 14\n# Subtest: test/a.test.ts\n    ok 1 - fine").counts, undefined);
  t.equal(readTap("No test files found").counts, undefined);
  t.equal(readTap("Bail out! enough").bailedOut, true);
});

t.test("failures are the assertions with their subtests' names and diagnoses, not the subtests", async (t) => {
  t.same(readTap(mixedRun).failures, [
    {
      name: "test/a.test.ts > sums > one is two",
      details: ["compare: ===", "diff: |", "  --- expected"],
    },
    { name: "test/a.test.ts > nested > deeper > should be equivalent", details: ["diff: |", "  +++ actual"] },
    { name: "test/a.test.ts > nested > boom", details: ["stack: |", "  a stack"] },
  ]);
});

t.test("a file that ends with an error after good assertions is the failure itself", async (t) => {
  const text =
    "# Subtest: test/b.test.ts\n    ok 1 - fine\n    1..1\nnot ok 1 - test/b.test.ts # time=4.955ms\n  ---\n  exitCode: 3\n  ...";
  t.same(readTap(text).failures, [{ name: "test/b.test.ts", details: ["exitCode: 3"] }]);
});

t.test("skips are told with their reasons", async (t) => {
  t.same(readTap(mixedRun).skips, [
    "test/a.test.ts > files # SKIP NOT TESTED, they are not here",
    "test/a.test.ts > more # TODO later",
    "test/a.test.ts > nested > deeper > known # SKIP no",
  ]);
});

/** As nx 22 prints it. */
const nxRun = ` NX   Running target test for 3 projects and 3 tasks they depend on:

- data
- protocol
- worker

> nx run data:build  [local cache]

> tsc -b

> nx run data:test  [existing outputs match the cache, left as is]

> tap --reporter=tap

TAP version 14
# { total: 5, pass: 5 }
# time=20ms

> nx run protocol:test

> tap --reporter=tap

No test files found
Warning: command "tap --reporter=tap" exited with non-zero status code

 NX   Running target test for 3 projects and 3 tasks they depend on failed

Tasks not run because their dependencies failed or --nx-bail=true:

- worker:test

Failed tasks:

- protocol:test
- worker:build
`;

t.test("nx's output falls apart into its projects, replayed ones included", async (t) => {
  const nx = new NxOutput("test");
  const ended = nxRun.split("\n").map((line) => nx.read(line)?.name);
  t.same(
    ended.filter((name) => name !== undefined),
    ["data"],
  );
  t.same([...nx.projects.keys()], ["data", "protocol"]);
  t.match(nx.projects.get("data"), { fromCache: true, tap: { counts: { passed: 5, failed: 0, skipped: 0 } } });
  t.match(nx.projects.get("protocol"), { fromCache: false, tap: { counts: undefined } });
  t.same([...nx.failed], ["protocol:test", "worker:build"]);
});

const runs = [
  { of: "that passed", text: "# { total: 2, pass: 2 }", endedWell: true, counts: { passed: 2, failed: 0 } },
  { of: "with failures", text: "# { total: 2, pass: 1, fail: 1 }", endedWell: false, counts: { passed: 1, failed: 1 } },
  {
    of: "that ended badly after good tests",
    text: "# { total: 2, pass: 2 }",
    endedWell: false,
    counts: { passed: 2, failed: 1 },
  },
  {
    of: "that bailed out",
    text: "Bail out! no\n# { total: 2, pass: 2 }",
    endedWell: true,
    counts: { passed: 2, failed: 1 },
  },
  { of: "that died", text: "TAP version 14\n    ok 1 - fine", endedWell: false, counts: { passed: 0, failed: 1 } },
  { of: "that said nothing", text: "", endedWell: true, counts: { passed: 0, failed: 1 } },
  { of: "without an assertion", text: "# { total: 0 }", endedWell: true, counts: { passed: 0, failed: 1 } },
];
for (const { of, text, endedWell, counts } of runs) {
  t.test(`a run ${of} counts as it should`, async (t) => {
    const found = rowOfTap("a", readTap(text), endedWell, text.split("\n"));
    t.match(found, counts);
    t.equal(found.output.length > 0, counts.failed > 0 && !text.includes("fail:"), "an unexplained failure says why");
  });
}

const row = (values) => ({ name: "a", passed: 1, failed: 0, skipped: 0, seconds: 1, skips: [], output: [], ...values });

const totals = [
  { of: "all good", rows: [row({ passed: 306 }), row({})], last: "307 passed, 0 failed", isGood: true },
  { of: "a failure", rows: [row({}), row({ passed: 0, failed: 1 })], last: "1 passed, 1 failed", isGood: false },
  { of: "something skipped", rows: [row({ skipped: 2 })], last: "1 passed, 0 failed, 2 skipped", isGood: true },
  { of: "nothing ran", rows: [], last: "0 passed, 0 failed", isGood: false },
  {
    of: "everything skipped",
    rows: [row({ passed: 0, skipped: 3 })],
    last: "0 passed, 0 failed, 3 skipped",
    isGood: false,
  },
];
for (const { of, rows, last, isGood } of totals) {
  t.test(`the last line counts: ${of}`, async (t) => {
    const summary = summarise(rows);
    t.equal(summary.lines.at(-1), last);
    t.equal(summary.isGood, isGood);
  });
}

t.test("only a failed check's output is shown", async (t) => {
  const { lines } = summarise([row({ output: ["unseen"] }), row({ name: "b", failed: 1, output: ["seen"] })]);
  t.ok(lines.includes("--- failed: b"));
  t.ok(lines.includes("seen"));
  t.notOk(lines.includes("unseen"));
});
