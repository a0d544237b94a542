import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { NxOutput } from "./nx-output.mjs";
import { listenTo, root } from "./run-process.mjs";
import { TapOutput } from "./tap-output.mjs";

/**
 * What is checked, each as a function to rows of the summary: `{ name, passed, failed, skipped, seconds, skips, output }`. A tool that
 * passes or fails as a whole counts as one; tests count by their assertions, and a package whose tests did not run to their end counts as failed.
 */

const shownLines = 120;
const explainedFailures = 10;

/** A tool that says yes or no. */
export async function checkTool(say, name, command, args) {
  const run = await listenTo(command, args, { onSilence: stillRunning(say, name) });
  return [verdict(name, run.code === 0, run.seconds, run.lines)];
}

/** One yes or no, with what was said about it. */
export function verdict(name, isGood, seconds, lines) {
  const left = lines.length - shownLines;
  const output = left > 0 ? [...lines.slice(0, shownLines), `... and ${left} lines more`] : lines;
  return {
    name,
    passed: Number(isGood),
    failed: Number(!isGood),
    skipped: 0,
    seconds,
    skips: [],
    output: isGood ? [] : output,
  };
}

/** The tests of every package, two packages at a time. */
export async function checkPackageTests(say) {
  const output = new NxOutput("test");
  const args = ["run-many", "-t", "test", "--output-style=static", "--parallel=2"];
  const run = await listenTo("nx", args, {
    onLine: (line) => {
      const done = output.read(line);
      if (done) say(`${done.name}: ${inWords(done.tap.counts)}${done.fromCache ? " (nothing changed)" : ""}`);
    },
    onSilence: stillRunning(say, "tests"),
  });
  const rows = packagesWithTests().map((name) => {
    const project = output.projects.get(name) ?? { tap: new TapOutput(), lines: [] };
    return rowOfTap(`tests of ${name}`, project.tap, !output.failed.has(`${name}:test`), project.lines);
  });
  const isExplained = run.code === 0 || rows.some((row) => row.failed > 0);
  return isExplained ? rows : [...rows, verdict("tests (nx)", false, run.seconds, run.lines.slice(-shownLines))];
}

/** The tests of these scripts themselves. */
export async function checkScripts(say) {
  const files = readdirSync(join(root, "scripts")).filter((name) => name.endsWith(".test.mjs"));
  const runner = join("scripts", "run-tests.mjs");
  return checkTap(say, "tests of scripts", process.execPath, [runner, ...files.map((name) => join("scripts", name))]);
}

/** Whole runs with real processes, one after the other; each test is announced as it ends, for they take minutes. */
export async function checkEndToEnd(say) {
  const name = "end-to-end tests";
  if (!existsSync(join(root, "test", "package.json"))) {
    return [verdict(name, false, 0, ["expected the nx project end-to-end in test/, found no test/package.json"])];
  }
  const onLine = (line) => {
    const result = /^ {4}(not )?ok \d+ - (.*?)(?: # time=([\d.]+)m?s)?$/.exec(line);
    if (result) say(`${result[1] ? "FAILED" : "passed"}: ${result[2]}`);
  };
  const args = ["run-many", "-t", "e2e", "-p", "end-to-end", "--output-style=stream-without-prefixes"];
  return checkTap(say, name, "nx", args, onLine);
}

async function checkTap(say, name, command, args, onLine = () => {}) {
  const tap = new TapOutput();
  const run = await listenTo(command, args, {
    onLine: (line) => {
      tap.read(line);
      onLine(line);
    },
    onSilence: stillRunning(say, name),
  });
  return [{ ...rowOfTap(name, tap, run.code === 0, run.lines), seconds: run.seconds }];
}

/** A run of tap as a row: its assertions, and one failure more where it failed without one or never came to its count. */
export function rowOfTap(name, tap, endedWell, lines) {
  const { passed, failed, skipped } = tap.counts ?? { passed: 0, failed: 0, skipped: 0 };
  const output = tap.failures.flatMap(({ name: failure, details }, index) => [
    `not ok: ${failure}`,
    ...(index < explainedFailures ? details.slice(0, shownLines / 3).map((line) => `    ${line}`) : []),
  ]);

  const isWhole = endedWell && passed + failed + skipped > 0 && !tap.bailedOut;
  const isUnexplained = !isWhole && failed === 0;
  if (isUnexplained) {
    const why = tap.counts === undefined ? "the tests did not run to their end" : "the tests ended with an error";
    output.push(
      lines.length === 0
        ? `${why}: nx did not start them, since something before them failed`
        : `${why}; their last words:`,
    );
    output.push(...lines.slice(-shownLines / 3));
  }
  const tookMs = lines.map((line) => /^# time=([\d.]+)ms$/.exec(line)?.[1]).findLast((ms) => ms !== undefined);
  return {
    name,
    passed,
    failed: failed + Number(isUnexplained),
    skipped,
    seconds: Number(tookMs ?? 0) / 1000,
    skips: tap.skips,
    output,
  };
}

const packagesWithTests = () =>
  readdirSync(join(root, "packages"))
    .map((name) => join(root, "packages", name, "package.json"))
    .filter(existsSync)
    .map((file) => JSON.parse(readFileSync(file, "utf8")).nx)
    .filter((nx) => nx?.targets?.test !== undefined)
    .map((nx) => nx.name);

const inWords = ({ passed, failed, skipped }) =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;

const stillRunning = (say, name) => (seconds) => say(`${name}: still running (${seconds.toFixed(0)} s)`);
