// What is wrong with a file, and where: "file:line:column: error: …", the line itself, and a caret.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace squall {

// A place in a text, both counted from 1, the column in bytes (messages count characters); line 0 means
// nowhere in particular.
struct Place {
  int line = 0;
  int column = 0;
  bool operator==(const Place&) const = default;
};

struct Diagnostic {
  Place place;
  std::string message;
};

// Collects everything that is wrong with one source, so that it can be told in one go.
class Diagnostics {
 public:
  // `name` is what messages call the source (a path, or "--on"); `text` is what carets point into.
  explicit Diagnostics(std::string name = "", std::string text = "");

  void error(Place, std::string message);
  bool ok() const { return errors_.empty(); }
  const std::vector<Diagnostic>& errors() const { return errors_; }
  // Every error in the order of its place, each as "name:line:column: error: message", line, caret.
  std::string render() const;
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  std::string text_;
  std::vector<Diagnostic> errors_;
};

// A text in quotes as messages show it: shortened where long, with control characters and bad bytes made
// harmless.
std::string quote(std::string_view);

// The candidate closest to a misspelt name, or "" where none is close enough to be what was meant.
std::string nearest(std::string_view name, const std::vector<std::string>& candidates);

// "; did you mean \"edge\"?", or ", expected one of a, b, c" where none is close (shortened where there are
// many).
std::string hint(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace squall
