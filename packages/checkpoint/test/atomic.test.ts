import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { removeLeftovers, writeFileAtomically, writeFolderAtomically } from "../src/index.ts";
import { deadPid } from "./fixtures/dead-pid.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const oneFile = (text: string) => [{ name: "a", chunks: [bytes(text)] }];

t.test("a folder appears with all its files and leaves nothing beside it", async (t) => {
  const folder = t.testdir();
  const shared = new Uint8Array(new SharedArrayBuffer(2)).fill(0x2a);
  const chunks = [bytes("one "), bytes(""), shared, bytes(" two")];
  await writeFolderAtomically(join(folder, "target"), [
    { name: "a", chunks },
    { name: "empty", chunks: [] },
  ]);
  t.same(readdirSync(folder), ["target"]);
  t.equal(readFileSync(join(folder, "target", "a"), "utf8"), "one ** two");
  t.equal(readFileSync(join(folder, "target", "empty"), "utf8"), "");
});

t.test("a folder that exists is replaced, with every file that the new one lacks gone", async (t) => {
  const folder = t.testdir({ target: { a: "old", b: "old" } });
  await writeFolderAtomically(join(folder, "target"), oneFile("new"));
  t.same(readdirSync(folder), ["target"]);
  t.same(readdirSync(join(folder, "target")), ["a"]);
  t.equal(readFileSync(join(folder, "target", "a"), "utf8"), "new");
});

t.test("a file is written and replaced, and nothing is left beside it", async (t) => {
  const folder = t.testdir();
  for (const text of ["first", "second"]) {
    await writeFileAtomically(join(folder, "config.json"), bytes(text));
    t.equal(readFileSync(join(folder, "config.json"), "utf8"), text);
  }
  t.same(readdirSync(folder), ["config.json"]);
});

t.test("a place that cannot be written is said with its path, the system's code and what to do", async (t) => {
  const folder = t.testdir({ file: "a file" });
  const cases: [what: string, target: string, code: string][] = [
    ["below a regular file", join(folder, "file", "target"), "ENOTDIR"],
    ["in a folder that does not exist", join(folder, "gone", "target"), "ENOENT"],
    ["with a name too long", join(folder, "x".repeat(300)), "ENAMETOOLONG"],
    ["in a file system that takes no files", "/proc/target", "ENOENT"],
  ];
  for (const [what, target, code] of cases) {
    const expected = { code: "UNWRITABLE", message: `cannot write ${target} (${code}): ` };
    await t.rejects(writeFolderAtomically(target, oneFile("x")), expected, `a folder ${what}`);
    await t.rejects(writeFileAtomically(target, bytes("x")), expected, `a file ${what}`);
  }
});

t.test("a write that fails half way leaves the former folder as it was and nothing beside it", async (t) => {
  const folder = t.testdir({ target: { a: "old" } });
  const files = [...oneFile("new"), { name: join("missing", "b"), chunks: [bytes("x")] }];
  await t.rejects(writeFolderAtomically(join(folder, "target"), files), { code: "UNWRITABLE" });
  t.same(readdirSync(folder), ["target"]);
  t.equal(readFileSync(join(folder, "target", "a"), "utf8"), "old");
});

t.test("a file cannot take the place of a folder, which stays", async (t) => {
  const folder = t.testdir({ target: { a: "old" } });
  await t.rejects(writeFileAtomically(join(folder, "target"), bytes("x")), { code: "UNWRITABLE" });
  t.same(readdirSync(folder), ["target"]);
  t.equal(readFileSync(join(folder, "target", "a"), "utf8"), "old");
});

t.test("leftovers of dead writers are removed, of living ones left alone, other names never touched", async (t) => {
  const folder = t.testdir();
  const dead = deadPid();
  const alive = spawn(process.execPath, ["-e", "process.stdin.resume()"], { stdio: ["pipe", "ignore", "ignore"] });
  t.teardown(async () => {
    alive.stdin.end();
    await once(alive, "exit");
  });
  await once(alive, "spawn");
  const removed = [
    `.a.tmp-${dead}-0`,
    `.a.tmp-${process.pid}-999999`,
    ".a.tmp-0-0",
    `.a.gone-${dead}-1`,
    ".a.tmp-99999999999999-0",
  ];
  const kept = ["a", ".hidden", `.b.tmp-${alive.pid}-0`, ".tmp-1", "a.tmp-1-1", ".c.tmp-x-1"];
  for (const name of [...removed, ...kept]) mkdirSync(join(folder, name));
  writeFileSync(join(folder, `.file.tmp-${dead}-3`), "half");
  writeFileSync(join(folder, `.a.tmp-${dead}-0`, "half"), "half");
  await removeLeftovers(folder);
  t.same(readdirSync(folder).sort(), kept.sort());
  await removeLeftovers(join(folder, "not-there"));
});

t.test("what was set aside comes back if nothing took its place, and goes if something did", async (t) => {
  const dead = deadPid();
  const folder = t.testdir({
    [`.lost.old-${dead}-4`]: { a: "former" },
    [`.lost.tmp-${dead}-3`]: { a: "new, never in place" },
    replaced: { a: "new" },
    [`.replaced.old-${dead}-6`]: { a: "former" },
  });
  await removeLeftovers(folder);
  t.same(readdirSync(folder).sort(), ["lost", "replaced"]);
  t.equal(readFileSync(join(folder, "lost", "a"), "utf8"), "former");
  t.equal(readFileSync(join(folder, "replaced", "a"), "utf8"), "new");
});

t.test("a name taken by a dead writer of the same process id is not used again", async (t) => {
  const folder = t.testdir();
  const names = Array.from({ length: 200 }, (_, n) => `.target.tmp-${process.pid}-${n}`);
  for (const name of names) mkdirSync(join(folder, name));
  await writeFolderAtomically(join(folder, "target"), oneFile("new"));
  t.ok(existsSync(join(folder, "target", "a")));
  t.equal(readdirSync(folder).length, names.length + 1);
});
