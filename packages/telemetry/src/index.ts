export {
  type ClassificationReport,
  type ClassScores,
  type ConfusionMatrix,
  classificationReport,
  type NamedClassScores,
} from "./classification.ts";
export { renderClassification } from "./classification-table.ts";
export { renderConfusion } from "./confusion-table.ts";
export { displayWidth, fit, padEnd, padStart, plain } from "./display-width.ts";
export { formatDuration } from "./duration.ts";
export { type FinalReport, renderFinalReport, type ValidationResult } from "./final-report.ts";
export { cutMetricsAfter, type MetricsCut } from "./metrics-cut.ts";
export { type MetricsFile, type MetricsFileOptions, openMetricsFile } from "./metrics-file.ts";
export { type Metrics, readMetrics } from "./metrics-read.ts";
export {
  type EvaluationRecord,
  formatMetrics,
  type MetricsRecord,
  parseMetrics,
  type StepRecord,
} from "./metrics-record.ts";
export { createProgress, type Progress, type ProgressOptions } from "./progress.ts";
export { type ProgressState, renderProgress } from "./progress-line.ts";
export { formatBytes, formatCount, formatLoss, formatPercent } from "./quantity.ts";
export { renderTable, type TableColumn, type TableRow } from "./table.ts";
export { TelemetryError, type TelemetryErrorCode } from "./telemetry-error.ts";
export { type Ink, paint, type TerminalFacts, type TextStyle, terminalStyle } from "./terminal-style.ts";
export { createThroughput, type Throughput, type ThroughputWindow } from "./throughput.ts";
