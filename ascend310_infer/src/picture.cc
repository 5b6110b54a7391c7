#include "picture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "error.h"
#include "files.h"

namespace dgn {
namespace {

constexpr int64_t kGap = 3, kMaxSide = 16384, kMaxPictures = 4096;  // of a sheet; the first two in pixels

std::string BigEndian(uint64_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(value >> shift & 0xff));
  return bytes;
}

// CRC-32 of the bytes from `first` on.
uint32_t Crc32(const std::string &bytes, size_t first) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> crcs{};
    for (uint32_t byte = 0; byte < 256; ++byte) {
      crcs[byte] = byte;
      for (int bit = 0; bit < 8; ++bit) crcs[byte] = crcs[byte] >> 1 ^ (crcs[byte] & 1 ? 0xedb88320u : 0u);
    }
    return crcs;
  }();
  uint32_t crc = 0xffffffffu;
  for (size_t k = first; k < bytes.size(); ++k) {
    crc = crc >> 8 ^ table[(crc ^ static_cast<unsigned char>(bytes[k])) & 0xff];
  }
  return ~crc;
}

// Appends a PNG chunk, whose data `append` appends.
template <typename Append>
void AppendChunk(const char *type, std::string *file, Append append) {
  const size_t start = file->size();
  file->append(4, '\0').append(type);
  append();
  file->replace(start, 4, BigEndian(file->size() - start - 8));
  *file += BigEndian(Crc32(*file, start + 4));
}

// Appends the lines of a picture, each without filter, as a zlib stream of uncompressed blocks of at most 65,535 bytes.
void AppendLines(const Picture &picture, std::string *file) {
  constexpr size_t kBlock = 65535;
  *file += "\x78\x01";
  uint64_t a = 1, b = 0;  // sums of the Adler-32 checksum
  const int64_t width = picture.width * picture.channels;
  for (int64_t y = 0; y < picture.height; ++y) {
    std::string line(1, 0);
    line.append(reinterpret_cast<const char *>(picture.pixels.data()) + y * width, static_cast<size_t>(width));
    for (size_t first = 0; first < line.size(); first += kBlock) {
      const size_t size = std::min(kBlock, line.size() - first);
      file->push_back(y + 1 == picture.height && first + size == line.size() ? 1 : 0);
      for (const size_t length : {size, ~size}) {
        file->push_back(static_cast<char>(length & 0xff));
        file->push_back(static_cast<char>(length >> 8 & 0xff));
      }
      file->append(line, first, size);
    }
    for (const char c : line) {
      a += static_cast<unsigned char>(c);
      b += a;
    }
    a %= 65521;
    b %= 65521;
  }
  *file += BigEndian(b << 16 | a);
}

}  // namespace

Picture MakePicture(const Array &image, int64_t frames) {
  const Shape &shape = image.shape;
  const size_t rank = shape.size();
  if ((rank != 3 && rank != 4) || (shape[rank - 3] != 1 && shape[rank - 3] != 3)) {
    throw RunFailed("an array of the shape " + ShapeText(shape) + " is neither an image nor a clip of 1 or 3 channels");
  }
  const int64_t channels = shape[rank - 3], height = shape[rank - 2], width = shape[rank - 1];
  const int64_t shown = rank == 4 ? std::min(shape[0], frames) : 1;
  Picture picture{shown * width, height, channels, {}};
  picture.pixels.resize(static_cast<size_t>(shown * channels * height * width));
  for (int64_t f = 0; f < shown; ++f) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t y = 0; y < height; ++y) {
        const float *row = image.values.data() + ((f * channels + c) * height + y) * width;
        for (int64_t x = 0; x < width; ++x) {
          const float value = row[x] > 0.0f ? std::min(row[x], 1.0f) : 0.0f;
          picture.pixels[static_cast<size_t>((y * picture.width + f * width + x) * channels + c)] =
              static_cast<uint8_t>(std::nearbyint(255.0f * value));
        }
      }
    }
  }
  return picture;
}

bool Sheet::TooLarge() const {
  return rows_ * columns_ > kMaxPictures || sheet_.width > kMaxSide || sheet_.height > kMaxSide;
}

void Sheet::Draw(int64_t row, int64_t column, const Picture &picture) {
  if (part_.pixels.empty()) {
    part_ = picture;
    sheet_ = {columns_ * (picture.width + kGap) - kGap, rows_ * (picture.height + kGap) - kGap, picture.channels, {}};
    if (!TooLarge()) sheet_.pixels.assign(static_cast<size_t>(sheet_.width * sheet_.height * sheet_.channels), 255);
  }
  if (picture.width != part_.width || picture.height != part_.height || picture.channels != part_.channels) {
    throw RunFailed("pictures of different sizes cannot be tiled");
  }
  if (TooLarge()) return;
  const int64_t line = picture.width * picture.channels, left = column * (picture.width + kGap);
  for (int64_t y = 0; y < picture.height; ++y) {
    const int64_t top = row * (picture.height + kGap) + y;
    std::copy_n(picture.pixels.begin() + y * line, line,
                sheet_.pixels.begin() + (top * sheet_.width + left) * sheet_.channels);
  }
}

void Sheet::Write(const std::string &path) const {
  if (TooLarge()) {
    std::printf("%s not written: a grid of %lld x %lld pictures is too large\n", path.c_str(),
                static_cast<long long>(rows_), static_cast<long long>(columns_));
    return;
  }
  WritePng(path, sheet_);
  std::printf("picture           %s\n", path.c_str());
}

void WritePng(const std::string &path, const Picture &picture) {
  std::string file = "\x89PNG\r\n\x1a\n";
  file.reserve(picture.pixels.size() + static_cast<size_t>(picture.height) * 8 + 128);
  AppendChunk("IHDR", &file, [&] {
    file += BigEndian(static_cast<uint64_t>(picture.width)) + BigEndian(static_cast<uint64_t>(picture.height));
    file += {8, static_cast<char>(picture.channels == 3 ? 2 : 0), 0, 0, 0};  // bit depth, color type, ...
  });
  AppendChunk("IDAT", &file, [&] { AppendLines(picture, &file); });
  AppendChunk("IEND", &file, [] {});
  WriteFile(path, file);
}

}  // namespace dgn
