#include "npy.h"

#include <cctype>

#include "error.h"

namespace dgn {
namespace {

const std::string kMagic = "\x93NUMPY";

// Parser of the header, a Python dictionary whose values are strings, booleans and tuples of integers.
class HeaderParser {
 public:
  HeaderParser(const std::string &text, const std::string &name) : text_(text), name_(name) {}

  NpyHeader Parse() {
    NpyHeader header;
    bool shape = false, type = false, order = false;
    Expect('{');
    while (!Accept('}')) {
      const std::string key = String();
      Expect(':');
      if (key == "descr") {
        CheckType();
        type = true;
      } else if (key == "fortran_order") {
        if (Word() != "False") {
          throw UserError(name_ + " is stored in Fortran order; save numpy.ascontiguousarray(array)");
        }
        order = true;
      } else if (key == "shape") {
        header.shape = Tuple();
        shape = true;
      } else {
        Fail("an unknown entry '" + key + "'");
      }
      if (!Accept(',')) {
        Expect('}');
        break;
      }
    }
    if (!shape || !type || !order) Fail("an entry is missing");
    SkipSpace();
    if (at_ != text_.size()) Fail("text after its end at byte " + std::to_string(at_));
    return header;
  }

 private:
  [[noreturn]] void Fail(const std::string &reason) const {
    throw UserError(name_ + " is not a valid .npy file: its header is damaged (" + reason + ")");
  }

  void SkipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }

  bool Accept(char expected) {
    SkipSpace();
    if (at_ == text_.size() || text_[at_] != expected) return false;
    ++at_;
    return true;
  }

  void Expect(char expected) {
    if (!Accept(expected)) Fail(std::string("'") + expected + "' expected at byte " + std::to_string(at_));
  }

  std::string String() {
    SkipSpace();
    if (at_ == text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) {
      Fail("a string expected at byte " + std::to_string(at_));
    }
    const size_t end = text_.find(text_[at_], at_ + 1);
    if (end == std::string::npos) Fail("an unterminated string");
    const std::string value = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return value;
  }

  std::string Word() {
    SkipSpace();
    const size_t first = at_;
    while (at_ < text_.size() && std::isalpha(static_cast<unsigned char>(text_[at_]))) ++at_;
    const std::string word = text_.substr(first, at_ - first);
    if (word != "True" && word != "False") Fail("True or False expected at byte " + std::to_string(first));
    return word;
  }

  void CheckType() {
    SkipSpace();
    if (at_ < text_.size() && text_[at_] == '[') throw UserError(name_ + " has a structured type; float32 is required");
    const std::string type = String();
    if (type != "<f4" && type != "=f4") {
      throw UserError(name_ + " has the type " + type.substr(0, 16) +
                      "; float32 (<f4) is required: array.astype(numpy.float32)");
    }
  }

  Shape Tuple() {
    Shape shape;
    Expect('(');
    while (!Accept(')')) {
      SkipSpace();
      int64_t value = 0;
      const size_t first = at_;
      while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
        if (at_ - first >= 15) Fail("a dimension is too large");
        value = 10 * value + (text_[at_++] - '0');
      }
      if (at_ == first) Fail("a dimension expected at byte " + std::to_string(at_));
      shape.push_back(value);
      if (shape.size() > 32) Fail("more than 32 dimensions");
      if (!Accept(',')) {
        if (shape.size() == 1) Fail("a comma expected at byte " + std::to_string(at_));  // (1) is no tuple
        Expect(')');
        break;
      }
    }
    return shape;
  }

  const std::string text_;
  const std::string &name_;
  size_t at_ = 0;
};

}  // namespace

NpyHeader ParseNpyHeader(const std::string &start, uint64_t file_size, const std::string &name) {
  if (start.compare(0, kMagic.size(), kMagic) != 0)
    throw UserError(name + " is not an .npy file: it lacks the magic number");
  const auto byte = [&start](size_t at) { return static_cast<uint64_t>(static_cast<unsigned char>(start[at])); };
  if (start.size() < 10) throw UserError(name + " is truncated: it ends within its header");
  const uint64_t version = byte(6);
  if (version < 1 || version > 3) {
    throw UserError(name + " has the .npy format version " + std::to_string(version) + "; 1 to 3 are supported");
  }
  uint64_t length = byte(8) | byte(9) << 8, first = 10;
  if (version > 1) {
    if (start.size() < 12) throw UserError(name + " is truncated: it ends within its header");
    length |= byte(10) << 16 | byte(11) << 24;
    first = 12;
  }
  if (length > start.size() - first) throw UserError(name + " is truncated: it ends within its header");
  NpyHeader header = HeaderParser(start.substr(first, length), name).Parse();
  header.offset = first + length;
  const uint64_t expected = ElementCount(header.shape, name) * sizeof(float), bytes = file_size - header.offset;
  if (bytes != expected) {
    throw UserError(name + " has " + std::to_string(bytes) + " bytes of data; its shape " + ShapeText(header.shape) +
                    " requires " + std::to_string(expected) + (bytes < expected ? ": the file is truncated" : ""));
  }
  return header;
}

std::string MakeNpyHeader(const Shape &shape) {
  std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': " + ShapeText(shape) + ", }";
  text.append(63 - (text.size() + 10) % 64, ' ').push_back('\n');
  const char length[] = {static_cast<char>(text.size() & 0xff), static_cast<char>(text.size() >> 8)};
  return kMagic + std::string("\x01\x00", 2) + std::string(length, 2) + text;
}

}  // namespace dgn
