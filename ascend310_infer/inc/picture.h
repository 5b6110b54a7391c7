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

// A grid of pictures of equal size on white, 3 pixels apart.
class Sheet {
 public:
  Sheet(int64_t rows, int64_t columns) : rows_(rows), columns_(columns) {}

  // Throws RunFailed if the picture differs in size from the first one.
  void Draw(int64_t row, int64_t column, const Picture &picture);

  // Writes a PNG file and prints its name. A sheet of more than 4096 pictures, or of more than 16384 pixels on a side,
  // is too large for memory; then only prints a line. Throws RunFailed.
  void Write(const std::string &path) const;

 private:
  bool TooLarge() const;

  int64_t rows_, columns_;
  Picture part_, sheet_;  // size of the first picture; all pictures
};

// Writes an uncompressed PNG file. Throws RunFailed.
void WritePng(const std::string &path, const Picture &picture);

}  // namespace dgn

#endif  // DGN_PICTURE_H_
