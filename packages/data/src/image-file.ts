import { DataError } from "./data-error.ts";
import type { ImageShape } from "./dataset.ts";

/**
 * One picture (PNG, JPEG, WebP, GIF, TIFF, AVIF) as uint8 pixels of a model's shape: grey for one channel, transparency on black, stretched to height
 * and width where its own differ.
 * @returns [height, width, channels]
 * @throws DataError FILE_MISSING, IMAGE_UNREADABLE
 */
export async function readImage(path: string, [height, width, channels]: ImageShape): Promise<Uint8Array> {
  if (channels !== 1 && channels !== 3) {
    throw new DataError("IMAGE_UNREADABLE", `${path}: a picture has 1 or 3 channels, the model expects ${channels}`);
  }
  // Loaded when needed: a rank that trains decodes nothing.
  const { default: sharp } = await import("sharp");
  try {
    const picture = sharp(path, { limitInputPixels: 100_000_000 }).rotate().flatten({ background: "black" });
    const sized = picture.resize(width, height, { fit: "fill" });
    const plain = channels === 1 ? sized.toColourspace("b-w") : sized.toColourspace("srgb");
    const { data } = await plain.removeAlpha().raw().toBuffer({ resolveWithObject: true });
    if (data.length === height * width * channels) return data;
    throw new Error(`${data.length} bytes of pixels`);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (/missing/i.test(reason)) throw new DataError("FILE_MISSING", `expected a picture, found nothing at ${path}`);
    throw new DataError(
      "IMAGE_UNREADABLE",
      `${path}: expected a picture (PNG, JPEG, WebP, ...), found something else: ${reason}`,
    );
  }
}
