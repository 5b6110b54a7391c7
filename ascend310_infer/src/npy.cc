#include "npy.h"

#include "error.h"

namespace dgn {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";

// A reader of the header's Python dictionary: strings, True and False, tuples of whole numbers; nothing else is in there.
class Dictionary {
 public:
  Dictionary(std::string_view text, const std::string &name) : text_(text), name_(name) {}

  NpyHeader Read() {
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
        if (Word() != "False") throw UserError(name_ + " is stored in columns (Fortran order); save numpy.ascontiguousarray(array)");
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
    return header;
  }

 private:
  [[noreturn]] void Fail(const std::string &why) const { throw UserError(name_ + " is not a whole .npy file: its header is damaged (" + why + ")"); }

  void SkipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }

  bool Accept(char wanted) {
    SkipSpace();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  void Expect(char wanted) {
    if (!Accept(wanted)) Fail(std::string("'") + wanted + "' expected at byte " + std::to_string(at_));
  }

  std::string String() {
    SkipSpace();
    if (at_ == text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) Fail("a name expected at byte " + std::to_string(at_));
    const size_t end = text_.find(text_[at_], at_ + 1);
    if (end == std::string_view::npos) Fail("a name does not end");
    const std::string found(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return found;
  }

  std::string Word() {
    SkipSpace();
    const size_t first = at_;
    while (at_ < text_.size() && ((text_[at_] >= 'a' && text_[at_] <= 'z') || (text_[at_] >= 'A' && text_[at_] <= 'Z'))) ++at_;
    const std::string word(text_.substr(first, at_ - first));
    if (word != "True" && word != "False") Fail("True or False expected at byte " + std::to_string(first));
    return word;
  }

  void CheckType() {
    SkipSpace();
    if (at_ < text_.size() && text_[at_] == '[') throw UserError(name_ + " holds records; an array of float32 is needed");
    const std::string type = String();
    if (type != "<f4" && type != "=f4") {
      throw UserError(name_ + " holds numbers of type " + type.substr(0, 16) + "; float32 (<f4) is needed: array.astype(numpy.float32)");
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
        Expect(')');
        break;
      }
    }
    return shape;
  }

  std::string_view text_;
  const std::string &name_;
  size_t at_ = 0;
};

}  // namespace

NpyHeader ParseNpyHeader(std::string_view start, uint64_t file_size, const std::string &name) {
  if (start.substr(0, kMagic.size()) != kMagic) throw UserError(name + " is not an .npy file (its first bytes are others)");
  const auto byte = [&start](size_t at) { return static_cast<uint64_t>(static_cast<unsigned char>(start[at])); };
  if (start.size() < 10) throw UserError(name + " is cut short: it ends within its header");
  const uint64_t version = byte(6);
  if (version < 1 || version > 3) throw UserError(name + " is an .npy file of version " + std::to_string(version) + "; 1 to 3 are known");
  uint64_t length = byte(8) | byte(9) << 8, first = 10;
  if (version > 1) {
    if (start.size() < 12) throw UserError(name + " is cut short: it ends within its header");
    length |= byte(10) << 16 | byte(11) << 24;
    first = 12;
  }
  if (length > start.size() - first) throw UserError(name + " is cut short: it ends within its header");
  NpyHeader header = Dictionary(start.substr(first, length), name).Read();
  header.offset = first + length;
  const uint64_t wanted = Count(header.shape, name) * sizeof(float);
  if (file_size - header.offset != wanted) {
    throw UserError(name + " holds " + std::to_string(file_size - header.offset) + " bytes of numbers; its shape " + Text(header.shape) +
                    " needs " + std::to_string(wanted) + (file_size - header.offset < wanted ? ": the file is cut short" : ""));
  }
  return header;
}

std::string NpyHeaderOf(const Shape &shape) {
  std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': " + Text(shape) + ", }";
  text.append(63 - (text.size() + 10) % 64, ' ').push_back('\n');
  const char length[] = {static_cast<char>(text.size() & 0xff), static_cast<char>(text.size() >> 8)};
  return std::string(kMagic) + std::string("\x01\x00", 2) + std::string(length, 2) + text;
}

}  // namespace dgn
