// Conversion of arrays to 8-bit pictures, and PNG output.
#ifndef DGN_PICTURE_H_
#define DGN_PICTURE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "array.h"

namespace dgn {

struct Picture {
  int64_t width = 0, height = 0, channels = 0;  // channels: 1 grayscale, 3 RGB
  std::vector<uint8_t> pixels;                  // (height, width, channels)
};

// An image (C, H, W) in [0, 1], or the first `frames` frames of a clip (F, C, H, W) side by side. Values are clamped.
// Throws RunFailed for other shapes.
Picture MakePicture(const Array &image, int64_t frames = INT64_MAX);

// Pictures of equal size in a grid on white, `gap` pixels apart.
Picture Tile(const std::vector<std::vector<Picture>> &rows, int64_t gap = 3);

// Writes an uncompressed PNG file. Throws RunFailed.
void WritePng(const std::string &path, const Picture &picture);

}  // namespace dgn

#endif  // DGN_PICTURE_H_
