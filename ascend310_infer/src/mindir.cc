#include "mindir.h"

#include <algorithm>
#include <initializer_list>

#include "array.h"
#include "error.h"

namespace dgn {
namespace {

constexpr int kMaxDepth = 64;  // of nested messages

// The messages of MindSpore's mind_ir.proto that are parsed.
enum class Message { kModel, kGraph, kNode, kAttribute, kTensor, kParameter, kValue, kPrimitive };

// Type of a field; kBytes includes strings and messages that are not parsed. kNumbers: single or packed.
enum class Kind { kUnknown, kNumber, kFixed32, kFixed64, kNumbers, kBytes, kMessage };

struct Field {
  Kind kind = Kind::kUnknown;
  Message message = Message::kModel;
};

Field Number() { return {Kind::kNumber, Message::kModel}; }
Field Bytes() { return {Kind::kBytes, Message::kModel}; }
Field Nested(Message message) { return {Kind::kMessage, message}; }

bool In(uint64_t number, std::initializer_list<uint64_t> set) {
  return std::find(set.begin(), set.end(), number) != set.end();
}

// The type of field `number` of a message.
Field FieldOf(Message message, uint64_t number) {
  switch (message) {
    case Message::kModel:
      if (In(number, {7, 8})) return Nested(Message::kGraph);
      if (number == 12) return Nested(Message::kPrimitive);
      if (In(number, {10, 13})) return Number();
      return number <= 6 ? Bytes() : Field();
    case Message::kGraph:
      if (number == 1) return Nested(Message::kNode);
      if (number == 3) return Nested(Message::kParameter);
      if (In(number, {5, 6})) return Nested(Message::kValue);
      if (number == 8) return Nested(Message::kAttribute);
      return In(number, {2, 4, 7, 9}) ? Bytes() : Field();
    case Message::kNode:
      if (In(number, {5, 8, 9})) return Nested(Message::kAttribute);
      return number <= 7 ? Bytes() : Field();
    case Message::kAttribute:
      if (In(number, {6, 12})) return Nested(Message::kTensor);
      if (In(number, {7, 13})) return Nested(Message::kGraph);
      if (number == 17) return Nested(Message::kAttribute);
      if (number == 2) return {Kind::kFixed32, Message::kModel};
      if (number == 4) return {Kind::kFixed64, Message::kModel};
      if (In(number, {3, 16})) return Number();
      if (In(number, {8, 9, 10})) return {Kind::kNumbers, Message::kModel};
      return In(number, {1, 5, 11, 14, 15}) ? Bytes() : Field();
    case Message::kTensor:
    case Message::kParameter:
      if (In(number, {2, 16})) return Number();
      if (In(number, {1, 3, 4, 6, 10, 11, 14, 15})) return {Kind::kNumbers, Message::kModel};
      return In(number, {5, 7, 8, 9, 12, 13}) ? Bytes() : Field();
    case Message::kValue:
      if (number == 2) return Nested(Message::kTensor);
      if (number == 5) return Nested(Message::kAttribute);
      return In(number, {1, 3, 4}) ? Bytes() : Field();
    case Message::kPrimitive:
      if (number == 3) return Nested(Message::kAttribute);
      if (number == 5) return Number();
      return number <= 4 ? Bytes() : Field();
  }
  return Field();
}

// Size of an element of the type TensorProto.DataType in bytes; 0: size not checked.
uint64_t ElementBytes(uint64_t type) {
  if (In(type, {2, 3, 9})) return 1;       // uint8, int8, bool
  if (In(type, {4, 5, 10, 16})) return 2;  // uint16, int16, float16, bfloat16
  if (In(type, {1, 6, 12})) return 4;      // float, int32, uint32
  return In(type, {7, 11, 13}) ? 8 : 0;    // int64, double, uint64
}

class FileParser {
 public:
  FileParser(const std::string &bytes, const std::string &name) : bytes_(bytes), name_(name) {}

  MindIr Parse() {
    if (bytes_.empty()) throw UserError(name_ + " is empty");
    ParseMessage(0, bytes_.size(), Message::kModel, 0);
    if (graphs_ != 1 || info_.nodes == 0 || info_.inputs == 0 || info_.outputs == 0) {
      Fail("it has no graph with inputs and outputs");
    }
    return info_;
  }

 private:
  [[noreturn]] void Fail(const std::string &reason) const {
    throw UserError(name_ + " is not a MindIR file or is damaged: " + reason);
  }
  [[noreturn]] void Fail(const std::string &reason, uint64_t at) const {
    Fail(reason + " at byte " + std::to_string(at));
  }

  uint64_t Varint(uint64_t *at, uint64_t end) const {
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      if (*at >= end) Fail("a truncated number", *at);
      const uint64_t byte = static_cast<unsigned char>(bytes_[(*at)++]);
      if (shift < 64) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    Fail("a number that is too long", *at);
  }

  void ParseMessage(uint64_t at, uint64_t end, Message message, int depth) {
    if (depth > kMaxDepth) Fail("messages are nested too deeply", at);
    Shape dims;
    uint64_t type = 0, raw = 0;
    bool has_raw = false;
    while (at < end) {
      const uint64_t start = at, tag = Varint(&at, end), number = tag >> 3, wire = tag & 7;
      if (number == 0 || number >= (1u << 29)) Fail("an invalid field number", start);
      const Field field = FieldOf(message, number);
      CheckWire(field.kind, wire, start);
      uint64_t value = 0, size = 0;
      switch (wire) {
        case 0: value = Varint(&at, end); break;
        case 1: size = 8; break;
        case 2: size = Varint(&at, end); break;
        case 5: size = 4; break;
        default: Fail("an invalid wire type", start);
      }
      if (size > end - at) Fail("a field exceeds the enclosing message", start);
      if (message == Message::kTensor || message == Message::kParameter) {
        if (number == 1) ReadDims(at, at + size, wire, value, &dims);
        if (number == 2) type = value;
        if (number == 9) {
          has_raw = true;
          raw = size;
        }
      }
      if (message == Message::kModel || (message == Message::kGraph && depth == 1)) {
        Record(message, number, at, size, value);
      }
      if (field.kind == Kind::kMessage) ParseMessage(at, at + size, field.message, depth + 1);
      at += size;
    }
    if (message == Message::kParameter && !has_raw && !dims.empty()) {  // its values would be whatever memory holds
      Fail("a parameter of the shape " + ShapeText(dims) + " has no values, before byte " + std::to_string(end));
    }
    if (has_raw && ElementBytes(type) != 0 && raw != Elements(dims, end) * ElementBytes(type)) {
      Fail("a tensor of the shape " + ShapeText(dims) + " has " + std::to_string(raw) + " bytes, before byte " +
           std::to_string(end));
    }
  }

  uint64_t Elements(const Shape &dims, uint64_t at) const {
    if (std::any_of(dims.begin(), dims.end(), [](int64_t d) { return d < 0; })) {
      Fail("a tensor has a negative dimension", at);
    }
    return ElementCount(dims, name_);
  }

  void CheckWire(Kind kind, uint64_t wire, uint64_t at) const {
    bool valid = true;
    if (kind == Kind::kNumber) valid = wire == 0;
    if (kind == Kind::kFixed32) valid = wire == 5;
    if (kind == Kind::kFixed64) valid = wire == 1;
    if (kind == Kind::kNumbers) valid = In(wire, {0, 1, 2, 5});
    if (kind == Kind::kBytes || kind == Kind::kMessage) valid = wire == 2;
    if (!valid) Fail("a field has the wrong wire type", at);
  }

  // Appends dimensions, which are stored as single numbers or packed into one field.
  void ReadDims(uint64_t at, uint64_t end, uint64_t wire, uint64_t value, Shape *dims) const {
    if (wire == 0) dims->push_back(static_cast<int64_t>(value));
    while (wire == 2 && at < end) dims->push_back(static_cast<int64_t>(Varint(&at, end)));
    if (dims->size() > 32) Fail("a tensor has more than 32 dimensions", at);
  }

  // Stores the fields of MindIr.
  void Record(Message message, uint64_t number, uint64_t at, uint64_t size, uint64_t value) {
    if (message == Message::kModel) {
      if (number == 5) info_.producer = bytes_.substr(at, std::min<uint64_t>(size, 32));
      if (number == 7) in_main_ = ++graphs_ == 1;
      if (number == 8) in_main_ = false;
      if (number == 13) info_.version = static_cast<int64_t>(value);
    } else if (in_main_) {
      if (number == 1) ++info_.nodes;
      if (number == 5) ++info_.inputs;
      if (number == 6) ++info_.outputs;
    }
  }

  const std::string &bytes_;
  const std::string &name_;
  MindIr info_;
  int graphs_ = 0;
  bool in_main_ = false;  // within the first graph
};

}  // namespace

MindIr InspectMindIr(const std::string &bytes, const std::string &name) { return FileParser(bytes, name).Parse(); }

}  // namespace dgn
