/**
 * Every bound on what may cross a socket, in one place.
 *
 * They serve two ends: a hostile or broken peer can make a receiver hold only so much, and whatever a run legitimately needs fits. The largest
 * legitimate control messages are a confusion matrix of 1,000 x 1,000 classes (5 MB as uint32) and a progress of 65,536 evaluations (at most
 * 101 bytes each, 6.6 MB).
 */

/** Version of everything in this package; both ends of a link must have the same. */
export const protocolVersion = 1;

/** The largest value of the fixed-width fields: generations, steps, ranks, indices of buckets, chunks and segments. */
export const maxUint32 = 2 ** 32 - 1;

// Whole messages, in bytes.

/** A control message. */
export const maxControlBytes = 8 * 2 ** 20;
/** The payload of a ring message: one segment. */
export const maxSegmentBytes = 2 ** 18;
/** The payload of a state message: one part of the state. */
export const maxStatePartBytes = 2 ** 20;
/** A whole state: parameters, optimizer slots and the rest. 64 GiB. */
export const maxStateBytes = 2 ** 36;

/** All that a rank tells a peer beside the state that it copies: what it has said of its steps and is not on disk yet. */
export const maxAboutBytes = 2 ** 26;

// The inside of a control message, counted before anything is decoded.

/** Maps and arrays inside each other; the deepest legitimate message has 5. */
export const maxControlDepth = 16;
/** Maps and arrays in all: 65,536 evaluations, and room. */
export const maxControlContainers = 2 ** 17;
/** Values in all, keys included. */
export const maxControlValues = 2 ** 21;
/** Entries of one map; the largest legitimate map has 19. */
export const maxMapEntries = 64;

// Lists, in items.

/** Seats of a run, hence ranks of a world and peers of a rank. */
export const maxSeats = 1024;
/** Compute threads of a rank. */
export const maxThreads = 1024;
/** Evaluations that a run's progress remembers. */
export const maxEvaluations = 2 ** 16;
/** Steps that a run may leave out after it went back for them; one more ends it. */
export const maxLeftOut = 16;
/** Tensors of a model or of its optimizer. */
export const maxTensors = 10_000;
/** Dimensions of a tensor. */
export const maxTensorRank = 8;
/** Classes of a classifier. */
export const maxClasses = 1000;
/** Entries of a confusion matrix. */
export const maxConfusionEntries = maxClasses * maxClasses;

// Text, in UTF-16 code units.

/** A run's name. */
export const maxNameChars = 100;
/** A device's name, a part of the fingerprint, an error's code. */
export const maxLabelChars = 200;
/** A host's name or address (RFC 1035: 253). */
export const maxHostChars = 253;
/** Why something ends. */
export const maxReasonChars = 500;
/** An error's message. */
export const maxErrorChars = 2000;
/** A value quoted in an error of this package. */
export const maxQuotedChars = 60;

// A run's configuration.

/** Samples of a global batch: up to here the step's receipt, summed in float32, is exact. */
export const maxBatchSize = 2 ** 16;
/** Epochs of a run. */
export const maxEpochs = 1_000_000;
/** Bytes of one bucket. */
export const minBucketBytes = 4096;
export const maxBucketBytes = 2 ** 30;
/** Segments are whole cache lines, in bytes. */
export const segmentAlignBytes = 64;
/** Samples of one validation block. */
export const maxValidationBlock = 4096;
