/** Runs of one config in different worlds, next to each other in a folder of the test's own. */
import { join } from "node:path";
import type { Test } from "tap";
import { succeed } from "./ringmaster.ts";
import { workspace } from "./run-files.ts";

export interface World {
  readonly ranks: number;
  /** Of each rank. Default 1. */
  readonly threads?: number;
}

export const named = ({ ranks, threads = 1 }: World): string =>
  `${ranks} ${ranks === 1 ? "rank" : "ranks"} with ${threads} ${threads === 1 ? "thread" : "threads"}`;

const worldArgs = ({ ranks, threads = 1 }: World) => ["--ranks", String(ranks), "--threads", String(threads)];

export class Runs {
  readonly #t: Test;
  readonly #config: string;
  /** On every command line that begins a run. */
  readonly #always: readonly string[];
  readonly folder: string;

  constructor(t: Test, config: string, always: readonly string[] = []) {
    this.#t = t;
    this.#config = config;
    this.#always = always;
    this.folder = workspace(t);
  }

  trainArgs(world: World, name: string, ...more: string[]): string[] {
    return [
      "train",
      this.#config,
      "--runs",
      this.folder,
      "--name",
      name,
      ...worldArgs(world),
      ...this.#always,
      ...more,
    ];
  }

  /** @returns the run's folder. */
  async train(world: World, name: string, ...more: string[]): Promise<string> {
    await succeed(this.#t, this.trainArgs(world, name, ...more));
    return this.folderOf(name);
  }

  async resume(run: string, world: World, ...more: string[]): Promise<void> {
    await succeed(this.#t, ["resume", run, ...worldArgs(world), ...more]);
  }

  folderOf(name: string): string {
    return join(this.folder, name);
  }
}

/** `--max-steps` of a run or of a resumption. */
export const upTo = (step: number): string[] => ["--max-steps", String(step)];
/** `--set` of a run. */
export const set = (field: string, value: string | number): string[] => ["--set", `${field}=${value}`];
