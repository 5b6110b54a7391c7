#include "picture.h"

#include <algorithm>
#include <cmath>

#include "error.h"
#include "files.h"

namespace dgn {
namespace {

void AppendBigEndian(uint32_t value, std::string *bytes) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes->push_back(static_cast<char>(value >> shift & 0xff));
}

uint32_t Crc32(const std::string &bytes) {
  uint32_t crc = 0xffffffffu;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0u);
  }
  return ~crc;
}

void AppendChunk(const std::string &type, const std::string &data, std::string *file) {
  AppendBigEndian(static_cast<uint32_t>(data.size()), file);
  const std::string body = type + data;
  *file += body;
  AppendBigEndian(Crc32(body), file);
}

// A zlib stream of uncompressed blocks of at most 65,535 bytes.
std::string ZlibStored(const std::string &data) {
  constexpr size_t kBlock = 65535;
  std::string stream = "\x78\x01";
  uint32_t a = 1, b = 0;  // sums of the Adler-32 checksum
  for (size_t first = 0; first < data.size(); first += kBlock) {
    const size_t size = std::min(kBlock, data.size() - first);
    stream.push_back(first + size == data.size() ? 1 : 0);
    for (const size_t length : {size, ~size}) {
      stream.push_back(static_cast<char>(length & 0xff));
      stream.push_back(static_cast<char>(length >> 8 & 0xff));
    }
    stream.append(data, first, size);
  }
  for (const char c : data) {
    a = (a + static_cast<unsigned char>(c)) % 65521;
    b = (b + a) % 65521;
  }
  AppendBigEndian(b << 16 | a, &stream);
  return stream;
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

Picture Tile(const std::vector<std::vector<Picture>> &rows, int64_t gap) {
  if (rows.empty() || rows.front().empty()) throw RunFailed("no pictures to tile");
  const Picture &first = rows.front().front();
  size_t columns = 0;
  for (const auto &row : rows) columns = std::max(columns, row.size());
  const int64_t width = static_cast<int64_t>(columns) * (first.width + gap) - gap;
  const int64_t height = static_cast<int64_t>(rows.size()) * (first.height + gap) - gap;
  Picture sheet{width, height, first.channels, {}};
  sheet.pixels.assign(static_cast<size_t>(sheet.width * sheet.height * sheet.channels), 255);
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t c = 0; c < rows[r].size(); ++c) {
      const Picture &picture = rows[r][c];
      if (picture.width != first.width || picture.height != first.height || picture.channels != first.channels) {
        throw RunFailed("pictures of different sizes cannot be tiled");
      }
      for (int64_t y = 0; y < picture.height; ++y) {
        const int64_t line = picture.width * picture.channels;
        const auto source = picture.pixels.begin() + y * line;
        const int64_t top = static_cast<int64_t>(r) * (first.height + gap) + y;
        const int64_t left = static_cast<int64_t>(c) * (first.width + gap);
        std::copy(source, source + line, sheet.pixels.begin() + (top * sheet.width + left) * sheet.channels);
      }
    }
  }
  return sheet;
}

void WritePng(const std::string &path, const Picture &picture) {
  std::string header, lines, file = "\x89PNG\r\n\x1a\n";
  AppendBigEndian(static_cast<uint32_t>(picture.width), &header);
  AppendBigEndian(static_cast<uint32_t>(picture.height), &header);
  header += {8, static_cast<char>(picture.channels == 3 ? 2 : 0), 0, 0, 0};  // bit depth, color type, ...
  const size_t line = static_cast<size_t>(picture.width * picture.channels);
  for (size_t first = 0; first < picture.pixels.size(); first += line) {
    lines.push_back(0);  // no filter
    lines.append(reinterpret_cast<const char *>(picture.pixels.data()) + first, line);
  }
  AppendChunk("IHDR", header, &file);
  AppendChunk("IDAT", ZlibStored(lines), &file);
  AppendChunk("IEND", "", &file);
  WriteFile(path, file);
}

}  // namespace dgn
