#include "mindir.h"

#include <algorithm>

#include "array.h"
#include "error.h"

namespace dgn {
namespace {

constexpr int kDepth = 64;  // messages within messages

// The messages of MindSpore's mind_ir.proto that are looked into.
enum class Message { kModel, kGraph, kNode, kAttribute, kTensor, kValue, kPrimitive };

// What a field of a message is; kBytes also stands for strings and for messages that are not looked into.
enum class Kind { kUnknown, kNumber, kFixed32, kFixed64, kNumbers, kBytes, kMessage };

struct Field {
  Kind kind = Kind::kUnknown;
  Message message = Message::kModel;
};

Field Number() { return {Kind::kNumber, Message::kModel}; }
Field Bytes() { return {Kind::kBytes, Message::kModel}; }
Field Of(Message message) { return {Kind::kMessage, message}; }

Field FieldOf(Message message, uint64_t number) {
  switch (message) {
    case Message::kModel:
      if (number <= 6) return Bytes();
      if (number == 7 || number == 8) return Of(Message::kGraph);
      if (number == 10 || number == 13) return Number();
      return number == 12 ? Of(Message::kPrimitive) : Field();
    case Message::kGraph:
      if (number == 1) return Of(Message::kNode);
      if (number == 3) return Of(Message::kTensor);
      if (number == 5 || number == 6) return Of(Message::kValue);
      if (number == 8) return Of(Message::kAttribute);
      return number == 2 || number == 4 || number == 7 || number == 9 ? Bytes() : Field();
    case Message::kNode:
      if (number == 5 || number == 8 || number == 9) return Of(Message::kAttribute);
      return number <= 7 ? Bytes() : Field();
    case Message::kAttribute:
      if (number == 2) return {Kind::kFixed32, Message::kModel};
      if (number == 4) return {Kind::kFixed64, Message::kModel};
      if (number == 3 || number == 16) return Number();
      if (number == 6 || number == 12) return Of(Message::kTensor);
      if (number == 7 || number == 13) return Of(Message::kGraph);
      if (number == 17) return Of(Message::kAttribute);
      if (number >= 8 && number <= 10) return {Kind::kNumbers, Message::kModel};
      return number == 1 || number == 5 || number == 11 || number == 14 || number == 15 ? Bytes() : Field();
    case Message::kTensor:
      if (number == 2 || number == 16) return Number();
      if (number == 1 || number == 3 || number == 4 || number == 6 || number == 10 || number == 11 || number == 14 || number == 15) {
        return {Kind::kNumbers, Message::kModel};
      }
      return number == 5 || number == 7 || number == 8 || number == 9 || number == 12 || number == 13 ? Bytes() : Field();
    case Message::kValue:
      if (number == 2) return Of(Message::kTensor);
      if (number == 5) return Of(Message::kAttribute);
      return number == 1 || number == 3 || number == 4 ? Bytes() : Field();
    case Message::kPrimitive:
      if (number == 3) return Of(Message::kAttribute);
      if (number == 5) return Number();
      return number <= 4 ? Bytes() : Field();
  }
  return Field();
}

// Bytes of an element of TensorProto.DataType; 0: not looked at.
uint64_t ElementBytes(uint64_t type) {
  switch (type) {
    case 2: case 3: case 9: return 1;  // uint8, int8, bool
    case 4: case 5: case 10: case 16: return 2;  // uint16, int16, float16, bfloat16
    case 1: case 6: case 12: return 4;  // float, int32, uint32
    case 7: case 11: case 13: return 8;  // int64, double, uint64
    default: return 0;
  }
}

class Walk {
 public:
  Walk(std::string_view bytes, const std::string &name) : bytes_(bytes), name_(name) {}

  MindIr Run() {
    if (bytes_.empty()) throw UserError(name_ + " is empty");
    WalkMessage(0, bytes_.size(), Message::kModel, 0);
    if (graphs_ != 1 || found_.nodes == 0 || found_.inputs == 0 || found_.outputs == 0) Fail("it holds no graph with inputs and outputs");
    return found_;
  }

 private:
  [[noreturn]] void Fail(const std::string &why) const { throw UserError(name_ + " is not a MindIR file, or a damaged one: " + why); }
  [[noreturn]] void Fail(const std::string &why, uint64_t at) const { Fail(why + " at byte " + std::to_string(at)); }

  uint64_t Varint(uint64_t *at, uint64_t end) const {
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      if (*at >= end) Fail("a number does not end", *at);
      const uint64_t byte = static_cast<unsigned char>(bytes_[(*at)++]);
      if (shift < 64) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    Fail("a number is too long", *at);
  }

  void WalkMessage(uint64_t at, uint64_t end, Message message, int depth) {
    if (depth > kDepth) Fail("messages are nested too deeply", at);
    Shape dims;
    uint64_t type = 0, raw = 0;
    bool has_raw = false;
    while (at < end) {
      const uint64_t start = at, tag = Varint(&at, end), number = tag >> 3, wire = tag & 7;
      if (number == 0 || number >= (1u << 29)) Fail("there is no such field", start);
      const Field field = FieldOf(message, number);
      CheckWire(field.kind, wire, start);
      uint64_t value = 0, size = 0;
      switch (wire) {
        case 0: value = Varint(&at, end); break;
        case 1: size = 8; break;
        case 2: size = Varint(&at, end); break;
        case 5: size = 4; break;
        default: Fail("there is no such type of field", start);
      }
      if (size > end - at) Fail("a field is longer than what holds it", start);
      if (message == Message::kTensor) {
        if (number == 1) ReadDims(at, at + size, wire, value, &dims);
        if (number == 2) type = value;
        if (number == 9) has_raw = true, raw = size;
      }
      if (message == Message::kModel || (message == Message::kGraph && depth == 1)) Note(message, number, at, size, value);
      if (field.kind == Kind::kMessage) WalkMessage(at, at + size, field.message, depth + 1);
      at += size;
    }
    if (has_raw && ElementBytes(type) != 0 && raw != Elements(dims, end) * ElementBytes(type)) {
      Fail("a tensor of the shape " + Text(dims) + " has " + std::to_string(raw) + " bytes, before byte " + std::to_string(end));
    }
  }

  uint64_t Elements(const Shape &dims, uint64_t at) const {
    if (std::any_of(dims.begin(), dims.end(), [](int64_t d) { return d < 0; })) Fail("a tensor has a negative dimension", at);
    return Count(dims, name_);
  }

  void CheckWire(Kind kind, uint64_t wire, uint64_t at) const {
    const bool right = kind == Kind::kUnknown || (kind == Kind::kNumber && wire == 0) || (kind == Kind::kFixed32 && wire == 5) ||
                       (kind == Kind::kFixed64 && wire == 1) || (kind == Kind::kNumbers && (wire == 0 || wire == 1 || wire == 2 || wire == 5)) ||
                       ((kind == Kind::kBytes || kind == Kind::kMessage) && wire == 2);
    if (!right) Fail("a field is of another type than it should be", at);
  }

  // Dimensions are numbers one by one, or many packed into one field.
  void ReadDims(uint64_t at, uint64_t end, uint64_t wire, uint64_t value, Shape *dims) const {
    if (wire == 0) dims->push_back(static_cast<int64_t>(value));
    while (wire == 2 && at < end) dims->push_back(static_cast<int64_t>(Varint(&at, end)));
    if (dims->size() > 32) Fail("a tensor has more than 32 dimensions", at);
  }

  // What is told of the file.
  void Note(Message message, uint64_t number, uint64_t at, uint64_t size, uint64_t value) {
    if (message == Message::kModel) {
      if (number == 5) found_.producer = bytes_.substr(at, std::min<uint64_t>(size, 32));
      if (number == 7) in_main_ = ++graphs_ == 1;
      if (number == 8) in_main_ = false;
      if (number == 13) found_.version = static_cast<int64_t>(value);
    } else if (in_main_) {
      if (number == 1) ++found_.nodes;
      if (number == 5) ++found_.inputs;
      if (number == 6) ++found_.outputs;
    }
  }

  std::string_view bytes_;
  const std::string &name_;
  MindIr found_;
  int graphs_ = 0;
  bool in_main_ = false;
};

}  // namespace

MindIr InspectMindIr(std::string_view bytes, const std::string &name) { return Walk(bytes, name).Run(); }

}  // namespace dgn
