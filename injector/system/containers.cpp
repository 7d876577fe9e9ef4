#include "injector/system/containers.hpp"

#include <filesystem>

#include <boost/json.hpp>

#include "injector/system/read_file.hpp"

namespace squall {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

json::value read_json(const std::string& path) {
  const auto text = read_file(path);
  json::error_code error;
  auto value = text ? json::parse(*text, error) : json::value{};
  return error ? json::value{} : value;
}

std::string text_of(const json::value& value, const char* key) {
  if (!value.is_object()) return "";
  auto* member = value.get_object().if_contains(key);
  return member && member->is_string() ? std::string(member->get_string()) : "";
}

// Docker: one folder a container, named by its id; the name is kept as "/web".
void docker(const std::string& name, const std::string& root, std::vector<std::string>& out) {
  for (auto& folder : entries(root + "/var/lib/docker/containers")) {
    const auto called = text_of(read_json(folder / "config.v2.json"), "Name");
    if (called == "/" + name || called == name) out.push_back(folder.filename().string());
  }
}

// Podman: one list of all, each with any number of names.
void podman(const std::string& name, const std::string& root, std::vector<std::string>& out) {
  const auto list = read_json(root + "/var/lib/containers/storage/overlay-containers/containers.json");
  if (!list.is_array()) return;
  for (auto& container : list.get_array()) {
    auto* names = container.is_object() ? container.get_object().if_contains("names") : nullptr;
    if (!names || !names->is_array()) continue;
    for (auto& one : names->get_array())
      if (one.is_string() && one.get_string() == name) out.push_back(text_of(container, "id"));
  }
}

}  // namespace

std::vector<std::string> container_ids(const std::string& name, const std::string& root) {
  std::vector<std::string> out;
  docker(name, root, out);
  podman(name, root, out);
  return out;
}

}  // namespace squall
