/** How a user's own model scales: its steps on 1, 2, 4, ... ranks, each with the same samples, over links that the user describes. */
import { type Cluster, type StepTime, stepTime } from "./cluster.ts";
import { efficiency } from "./simulate-run.ts";

export interface ScalingPoint extends StepTime {
  readonly ranks: number;
  /** Of perfect scaling; 1 for one rank. */
  readonly efficiency: number;
}

export function scalingCurve(cluster: Omit<Cluster, "ranks" | "seats">, ranks: readonly number[]): ScalingPoint[] {
  return ranks.map((count) => {
    const of = { ...cluster, ranks: count, seats: count };
    return { ranks: count, ...stepTime(of), efficiency: efficiency(of) };
  });
}

const width = 720;
const height = 420;
const margin = { left: 64, right: 24, top: 48, bottom: 56 };

/** The curve as an SVG picture. */
export function scalingPicture(points: readonly ScalingPoint[], title: string): string {
  const innerWidth = width - margin.left - margin.right;
  const innerHeight = height - margin.top - margin.bottom;
  const logs = points.map(({ ranks }) => Math.log2(ranks));
  const [least, most] = [Math.min(...logs), Math.max(...logs)];
  const x = (ranks: number) =>
    margin.left + (most === least ? 0.5 : (Math.log2(ranks) - least) / (most - least)) * innerWidth;
  const y = (share: number) => margin.top + (1 - share) * innerHeight;
  const line = points.map(({ ranks, efficiency: share }) => `${x(ranks).toFixed(1)},${y(share).toFixed(1)}`).join(" ");
  const shares = [0, 0.25, 0.5, 0.75, 1];
  const text = (atX: number, atY: number, anchor: string, words: string) =>
    `<text x="${atX.toFixed(1)}" y="${atY.toFixed(1)}" text-anchor="${anchor}">${escaped(words)}</text>`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="13">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    `<text x="${margin.left}" y="28" font-size="15">${escaped(title)}</text>`,
    ...shares.map(
      (share) =>
        `<line x1="${margin.left}" x2="${width - margin.right}" y1="${y(share)}" y2="${y(share)}" stroke="#ddd"/>`,
    ),
    ...shares.map((share) => text(margin.left - 8, y(share) + 4, "end", `${share * 100} %`)),
    ...points.map(({ ranks }) => text(x(ranks), height - margin.bottom + 20, "middle", String(ranks))),
    text(margin.left + innerWidth / 2, height - 14, "middle", "ranks"),
    `<polyline points="${line}" fill="none" stroke="#1f77b4" stroke-width="2"/>`,
    ...points.map(
      ({ ranks, efficiency: share }) =>
        `<circle cx="${x(ranks).toFixed(1)}" cy="${y(share).toFixed(1)}" r="3.5" fill="#1f77b4"/>`,
    ),
    "</svg>",
    "",
  ].join("\n");
}

const escaped = (words: string): string => words.replace(/&/g, "&amp;").replace(/</g, "&lt;");
