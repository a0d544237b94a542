import { readFileSync } from "node:fs";

/** The float32 tensors of a golden file in safetensors' format (made by scripts/golden/make-golden.py). */
export function readGolden(name: string): Map<string, Float32Array> {
  const bytes = readFileSync(new URL(`golden/${name}.safetensors`, sourceFolder()));
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const header: Record<string, { data_offsets: [number, number] }> = JSON.parse(
    bytes.subarray(8, 8 + headerBytes).toString(),
  );
  const tensors = new Map<string, Float32Array>();
  for (const [tensor, { data_offsets }] of Object.entries(header)) {
    if (!data_offsets) continue;
    const data = bytes.subarray(8 + headerBytes + data_offsets[0], 8 + headerBytes + data_offsets[1]);
    tensors.set(tensor, new Float32Array(Uint8Array.from(data).buffer));
  }
  return tensors;
}

export const readGoldenJson = (name: string) =>
  JSON.parse(readFileSync(new URL(`golden/${name}.json`, sourceFolder()), "utf8"));

/** Golden files are not copied to dist. */
const sourceFolder = () => new URL(import.meta.url.replace("/dist/test/", "/test/"));

/** Relative L2 norm of the difference; absolute where the expected tensor is zero. */
export function relativeDifference(found: Float32Array, expected: Float32Array): number {
  let difference = 0;
  let norm = 0;
  expected.forEach((value, i) => {
    difference += (value - (found[i] ?? Number.NaN)) ** 2;
    norm += value ** 2;
  });
  return Math.sqrt(difference) / (Math.sqrt(norm) || 1);
}
