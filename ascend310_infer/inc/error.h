// The two ways in which the program stops on purpose; each carries a message for the person at the keyboard.
#ifndef DGN_ERROR_H_
#define DGN_ERROR_H_

#include <stdexcept>
#include <string>

namespace dgn {

class Error : public std::runtime_error {
 public:
  Error(const std::string &message, int exit_code) : std::runtime_error(message), exit_code_(exit_code) {}
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

// The input is wrong: arguments, files.
struct UserError : Error {
  explicit UserError(const std::string &message) : Error(message, 2) {}
};

// A correct start came to a bad end: the device, the runtime, the disk.
struct RunFailed : Error {
  explicit RunFailed(const std::string &message) : Error(message, 1) {}
};

}  // namespace dgn

#endif  // DGN_ERROR_H_
