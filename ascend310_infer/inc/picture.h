// Arrays as pictures, and pictures as PNG files.
#ifndef DGN_PICTURE_H_
#define DGN_PICTURE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "array.h"

namespace dgn {

struct Picture {
  int64_t width = 0, height = 0, channels = 0;  // 1 grey, 3 colour
  std::vector<uint8_t> pixels;  // rows of pixels of channels
};

// An image (C, H, W) in [0, 1], or a clip (F, C, H, W) as a strip of its first `frames` frames from left to right.
// Throws RunFailed if it is neither.
Picture MakePicture(const Array &image, int64_t frames = INT64_MAX);

// Equally large pictures in rows, on white, `gap` pixels apart.
Picture Tile(const std::vector<std::vector<Picture>> &rows, int64_t gap = 3);

// Writes a PNG file (not compressed). Throws RunFailed if the disk refuses.
void WritePng(const std::string &path, const Picture &picture);

}  // namespace dgn

#endif  // DGN_PICTURE_H_
