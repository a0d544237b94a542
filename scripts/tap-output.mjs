/**
 * What a run of tap says, read line by line.
 *
 * tap indents a subtest by four columns and ends with its own count, `# { total: 8, pass: 1, fail: 3, todo: 1, skip: 3 }`, in the first
 * column; what a test prints by itself may look the same but stands further right. A run that died early has no count.
 */
export class TapOutput {
  /** The sum of the counts read, of one run or of several in a row; undefined before the first. todo counts as skipped. */
  counts = undefined;
  /** Assertions that failed, not the subtests around them: `{ name, details }`, the name with those of the subtests it lies in. */
  failures = [];
  /** Names of what was skipped or is yet to do, with the reason given. */
  skips = [];
  bailedOut = false;

  #subtests = [];
  /** For each depth, whether anything below has failed since that depth's last result: then its own failure is only theirs. */
  #failedBelow = [];
  #diagnosis = undefined;

  read(line) {
    if (this.#readDiagnosis(line)) return;
    const counts = /^# \{ total: \d+.*\}$/.exec(line);
    if (counts) return this.#addCounts(line);
    if (/^Bail out!/.test(line)) this.bailedOut = true;

    const subtest = /^( *)# Subtest: (.*)$/.exec(line);
    if (subtest) {
      this.#subtests[depthOf(subtest[1])] = subtest[2];
      return;
    }
    const result = /^( *)(not )?ok \d+(?: - (.*?))?$/.exec(line);
    if (result) this.#addResult(depthOf(result[1]), result[2] !== undefined, result[3] ?? "");
  }

  #addCounts(line) {
    const count = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(line)?.[1] ?? 0);
    const { passed = 0, failed = 0, skipped = 0 } = this.counts ?? {};
    this.counts = {
      passed: passed + count("pass"),
      failed: failed + count("fail"),
      skipped: skipped + count("skip") + count("todo"),
    };
  }

  #addResult(depth, notOk, text) {
    const isFailure = notOk && !/ # (?:skip|todo)\b/i.test(` ${text}`);
    const isOwn = isFailure && !this.#failedBelow[depth];
    this.#failedBelow.length = depth;
    if (/ # (?:skip|todo)\b/i.test(` ${text}`)) this.skips.push(this.#nameOf(depth, text));
    if (!isFailure) return;
    this.#failedBelow = Array.from({ length: depth }, () => true);
    if (!isOwn) return;
    const failure = { name: this.#nameOf(depth, text.replace(/ # time=.*$/, "")), details: [] };
    this.failures.push(failure);
    this.#diagnosis = { failure, indent: " ".repeat(4 * depth + 2), state: "due" };
  }

  #nameOf(depth, text) {
    return [...this.#subtests.slice(0, depth), text].join(" > ");
  }

  /** The YAML block under a result, less the source, for `at` says where it is. @returns whether the line is part of one. */
  #readDiagnosis(line) {
    const diagnosis = this.#diagnosis;
    if (diagnosis === undefined) return false;
    if (diagnosis.state === "due") {
      if (line === `${diagnosis.indent}---`) diagnosis.state = "open";
      else this.#diagnosis = undefined;
      return diagnosis.state === "open";
    }
    if (line === `${diagnosis.indent}...`) {
      this.#diagnosis = undefined;
      return true;
    }
    const detail = line.startsWith(diagnosis.indent) ? line.slice(diagnosis.indent.length) : line;
    if (/^\S/.test(detail)) diagnosis.isSource = detail.startsWith("source:");
    if (!diagnosis.isSource) diagnosis.failure.details.push(detail);
    return true;
  }
}

const depthOf = (spaces) => Math.floor(spaces.length / 4);
