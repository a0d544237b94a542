import { readFileSync } from "node:fs";
import t from "tap";
import { unwrittenMappings } from "../src/libtensorflow/release-pages.ts";
import { loadLibtensorflow } from "../src/tensorflow/load-libtensorflow.ts";

const isOurs = (path: string) => path === "/cache/lib.so.2";
const mapping = (head: string, anonymousKb: number) =>
  `${head}\nSize:                 64 kB\nRss:                  64 kB\nAnonymous:            ${anonymousKb} kB\nLazyFree:              0 kB\n`;

const cases = [
  ["symbols and constants", "1000-2000 r--p 00000000 fe:00 11 /cache/lib.so.2", 0, true],
  ["code", "1000-2000 r-xp 00001000 fe:00 11 /cache/lib.so.2", 0, true],
  ["what was relocated and then protected", "1000-2000 r--p 00002000 fe:00 11 /cache/lib.so.2", 4, false],
  ["what can be written", "1000-2000 rw-p 00003000 fe:00 11 /cache/lib.so.2", 0, false],
  ["another library", "1000-2000 r-xp 00001000 fe:00 12 /cache/other/lib.so.2", 0, false],
  ["memory without a file", "1000-2000 r--p 00000000 00:00 0 ", 0, false],
] as const;

for (const [name, head, anonymousKb, released] of cases) {
  t.test(`${name}: ${released ? "given back" : "kept"}`, async (t) => {
    const before = mapping("0400-0500 r-xp 00001000 fe:00 12 /bin/node", 0);
    const smaps = before + mapping(head, anonymousKb) + mapping("7ffc0-7ffd0 rw-p 00000000 00:00 0   [stack]", 16);
    t.same(unwrittenMappings(smaps, isOurs), released ? [{ start: 0x1000n, end: 0x2000n }] : []);
  });
}

t.test("loading libtensorflow leaves little of its files resident, and it works", async (t) => {
  const residentFileMiB = () =>
    Number(/^RssFile:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1024;
  const before = residentFileMiB();
  t.match(loadLibtensorflow("cpu").c.TF_Version(), /^\d+\.\d+/);
  const grown = residentFileMiB() - before;
  t.ok(grown < 100, `${grown} MiB; the linker alone reads some 250`);
});
