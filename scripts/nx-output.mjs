import { TapOutput } from "./tap-output.mjs";

/**
 * What `nx run-many --output-style=static` says, read line by line: each task's output as a whole under a heading, the failed tasks' names
 * at the end. A result from the cache is replayed and so counts like a fresh one.
 */
export class NxOutput {
  /** By project: `{ tap, lines, fromCache }` of its task. */
  projects = new Map();
  failed = new Set();

  #target;
  #project = undefined;
  #inFailedList = false;

  constructor(target) {
    this.#target = target;
  }

  /** @returns the project whose tap run this line ends, if it does. */
  read(line) {
    const heading = /^> nx run ([^\s:]+):(\S+)(\s+\[.*\])?$/.exec(line);
    if (heading) {
      const [, name, target, cached] = heading;
      this.#project =
        target === this.#target
          ? { name, tap: new TapOutput(), lines: [], fromCache: cached !== undefined }
          : undefined;
      if (this.#project) this.projects.set(name, this.#project);
      return;
    }
    if (/^ (NX|Lerna) {3}/.test(line)) this.#project = undefined;
    if (/^Failed tasks:$/.test(line)) this.#inFailedList = true;
    const task = /^- ([^\s:]+):(\S+)$/.exec(line);
    if (this.#inFailedList && task) this.failed.add(`${task[1]}:${task[2]}`);

    const project = this.#project;
    if (project === undefined) return;
    project.lines.push(line);
    const before = project.tap.counts;
    project.tap.read(line);
    return project.tap.counts === before ? undefined : project;
  }
}
