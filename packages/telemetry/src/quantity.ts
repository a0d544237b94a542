/** Numbers for a person. The same on every machine: no locale enters. */

/** `1234567` is `1,234,567`; rounded to a whole number. */
export function formatCount(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  return (Math.round(value) || 0).toString().replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** Binary units: `1536` is `1.5 KiB`. */
export function formatBytes(bytes: number): string {
  if (!Number.isFinite(bytes)) return String(bytes);
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = bytes;
  // 1023.95 would be printed as 1024.0: it belongs to the next unit.
  while (Math.abs(value) >= 1023.95 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** A share from 0 to 1 as per cent: `0.9612` is `96.12%`. Only what is wholly right reads 100.00%. */
export function formatPercent(share: number): string {
  if (!Number.isFinite(share)) return String(share);
  const percent = share * 100;
  // 9,999.9 of 10,000 is not all: one that rounds up to all of it stays below.
  return `${(share < 1 && percent > 99.99 ? 99.99 : percent).toFixed(2)}%`;
}

/** A loss in about six characters, whatever its size: `0.0712`, `12.34`, `1.23e+6`, `NaN`. */
export function formatLoss(loss: number): string {
  if (!Number.isFinite(loss)) return String(loss);
  const size = Math.abs(loss);
  if (size >= 1e5 || (size > 0 && size < 5e-5)) return loss.toExponential(2);
  return loss.toFixed(size < 10 ? 4 : size < 1000 ? 2 : 1);
}
